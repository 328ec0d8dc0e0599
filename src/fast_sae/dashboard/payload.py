"""What the dashboard shows, as the page's scripts read it. This text is the contract between the two.

Block `overview` (always in index.html):

    run         {model, revision, layer, architecture, M, K, d_in, alive, sae, test: {examples, windows, tokens}};
                revision may be null, sae is the weights' SHA-256
    settings    [[key, value as text], ...]: the manifest's settings, flat, sorted
    metrics     [[section, name, value, low or null, high or null], ...] of every metrics file
    curves      {name: [[step, value], ...]}: loss, validation_loss, l0, dead_fraction
    density     [[lower edge of log10 density as text, latents], ...]
    kinds       names of the token kinds, by their number
    labels      names of the labels, by the number that the rest gives them
    split       "test": where all windows below come from
    latents     columns of equal length, a row per living latent, by number:
                latent; name (text or null); named (how: "explained", "no_pattern", ..., "hypothesis", null); rating
                (1 to 5 or null); score (balanced accuracy of detection, or null); fuzzing (likewise or null); density
                (test); label (number or -1); auroc (of it, on test, or null); token (the one of the highest lift, or
                null); max (largest activation on validation); x, y (place on the map, 0 to 1)
    chunks      {size, count, embedded}: latent k is in chunk floor(k / size); embedded: as block `chunk-N` of
                index.html; otherwise in chunks/N.js, which calls fastSaeChunk(N, chunk);
                packed in either case (page/page.py: pack)

A chunk:

    tokens      distinct texts of tokens
    texts       [[example, first position, label number or -1, [token number, ...], kinds as digits], ...]
    latents     {latent: {
        name        {text, reason, status, rating, rating_reason, scores: {name: value or null}} or null
        hypotheses  [[target, name text, confirmed (bool), auroc or null, p_corrected or null], ...]
        rates       {split: [density, window rate, example rate]} for validation, test
        quantiles   [5, 25, 50, 75, 95 %, max, mean] of its activation where it fires (validation)
        kinds       share of its firings by kind, by the kind's number
        histogram   [[low, high, tokens], ...] (validation), four bins an octave, without the empty ones
        top         [[text number, [position, activation, position, activation, ...]], ...], the strongest first
        sampled     [[text number, decile, [position, activation, ...]], ...], decile 10 (strongest) first
        tokens      [[token text, fired, count, lift], ...]
        promoted, suppressed    [[token text, logit], ...]
        decoder, cofiring       [[latent, similarity], ...]
        labels      [[label number, AUROC on validation, on test or null], ...]
        steering    null or {label or null (of several the first), doses: [[alpha, rate or null, low, high], ...],
                    samples: [[prompt, alpha, continuation, recognised label or null], ...]}  (alpha 0: unsteered)
    }}

Numbers are rounded: activations and others to 4 significant digits.
"""
