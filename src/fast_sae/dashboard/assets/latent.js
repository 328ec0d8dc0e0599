// One latent: what it is called, where it fires, what it writes, what is near it.

const SCORES = {
  balanced_accuracy: "Detection, balanced accuracy", precision: "Detection, precision", recall: "Detection, recall",
  f1: "Detection, F1", correlation: "Detection, correlation", fuzzing_balanced_accuracy: "Fuzzing, balanced accuracy",
  other_f1: "F1 by another latent's name", constant_f1: "F1 of always yes",
  other_fuzzing_balanced_accuracy: "Fuzzing by another latent's name",
};
const QUANTILES = ["5 %", "25 %", "50 %", "75 %", "95 %", "largest", "mean"];

function latentView(latent, neighbours) {
  const row = ROW_OF.get(latent);
  const view = el("div", {class: "view view-latent"}, latentNavigation(latent, neighbours), latentHead(latent, row));
  if (row === undefined) {
    view.append(el("p", {}, absentSentence(latent)));
    return view;
  }
  const rest = el("div", {class: "latent-body", "aria-busy": "true"}, el("p", {class: "muted"}, "Loading…"));
  view.append(rest);
  chunkOf(latent).then((chunk) => {
    if (view.isConnected) drawLatent(view, rest, latent, row, chunk);
  }, (error) => fill(rest, el("p", {role: "alert"}, error.message)));
  return view;
}

function absentSentence(latent) {
  const {M} = OVERVIEW.run;
  return latent < M ? `Latent ${latent} is dead: it fires nowhere in the held-out texts, so there is nothing to show.`
    : `There is no latent ${latent}: this SAE has latents 0 to ${M - 1}.`;
}

function latentNavigation(latent, [before, after]) {
  const step = (to, text, key) => to === null || to === undefined ? el("span", {class: "muted"}, text)
    : el("a", {href: `#latent-${to}`, "data-tip": `key ${key}`}, text);
  return el("nav", {class: "steps", "aria-label": "Latents"}, el("a", {href: "#overview"}, "All latents"),
    step(before, "‹ previous", "k"), step(after, "next ›", "j"));
}

function latentHead(latent, row) {
  const name = latentName(latent);
  return el("header", {class: "latent-head"},
    el("h1", {tabindex: -1}, name ? [el("span", {class: "number"}, `Latent ${latent}`), " ", words(name)] : `Latent ${latent}`),
    row !== undefined && [latentSubtitle(row),
      el("p", {class: "chips"}, latentChips(row).map((chip) => [el("span", {class: "chip"}, chip), " "]))]);
}

function latentSubtitle(row) {
  const auroc = LATENTS.auroc[row];
  const measured = labelName(LATENTS.label[row]) !== null && auroc !== null;
  return el("p", {class: "subtitle muted"}, words(knownFor(row)), measured && `, AUROC ${fmt(auroc, 3)}`);
}

function latentChips(row) {
  const told = (value, text) => value !== null && value !== undefined && text;
  return [
    told(LATENTS.named[row], `name: ${NAMED[LATENTS.named[row]] || LATENTS.named[row]}`),
    told(LATENTS.rating[row], `rated ${LATENTS.rating[row]} of 5`),
    told(LATENTS.score[row], `detection ${fmt(LATENTS.score[row], 3)}`),
    told(LATENTS.fuzzing[row], `fuzzing ${fmt(LATENTS.fuzzing[row], 3)}`),
    `density ${fmt(LATENTS.density[row], 3)}`,
  ].filter(Boolean);
}

function drawLatent(view, rest, latent, row, chunk) {
  const about = chunk.latents[latent];
  rest.removeAttribute("aria-busy");
  if (!about) {
    fill(rest, el("p", {}, absentSentence(latent)));
    return;
  }
  const max = LATENTS.max[row] || 1;
  fill(rest, el("div", {class: "latent-side latent-key"}, histogramOf(about), firingSection(about)),
    el("div", {class: "latent-main"}, examplesSection(chunk, about, max), steeringSection(about.steering)),
    el("div", {class: "latent-side"}, nameSection(about),
      tokenList("Tokens by lift", ["Token", "Fired", "Of", "Lift"], about.tokens,
        "On which tokens it fires more than on others"),
      el("div", {class: "pair"},
        tokenList("Promoted tokens", ["Token", "Logit"], about.promoted, "What its decoder direction writes"),
        tokenList("Suppressed tokens", ["Token", "Logit"], about.suppressed)),
      labelSection(about.labels), hypothesesSection(about.hypotheses),
      neighbourSection("Nearest decoders", "Cosine", about.decoder),
      neighbourSection("Fires together with", "Similarity", about.cofiring)));
}

function examplesSection(chunk, about, max) {
  const item = (number, flat) => {
    const [one, active] = [windowOf(chunk, number), pairs(flat)];
    return exampleItem(one, active, max, {lead: exampleLead(one, active.get(strongest(active)))});
  };
  const deciles = [...new Set(about.sampled.map(([, decile]) => decile))];
  return el("section", {"aria-label": "Examples"},
    el("h2", {}, "Top examples"),
    el("p", {class: "muted small"}, "The more colour, the stronger, as a share of its largest activation; underlined " +
      "tokens fire. Click a text for the whole; arrow keys go from token to token."),
    el("ul", {class: "examples"}, about.top.map(([number, flat]) => item(number, flat))),
    about.top.length === 0 && el("p", {class: "muted"}, `It fires nowhere in ${OVERVIEW.split}.`),
    deciles.length > 0 && el("h2", {}, "Examples drawn at random where it fires"),
    deciles.map((decile) => [
      el("h3", {class: "decile"}, decileTitle(decile)),
      el("ul", {class: "examples"}, about.sampled.filter((one) => one[1] === decile)
        .map(([number, , flat]) => item(number, flat)))]));
}

function decileTitle(decile) {
  return `Tenth ${decile} by strength${{10: ", the strongest", 1: ", the weakest"}[decile] || ""}`;
}

function exampleLead(one, activation) {
  return [el("span", {class: "peak"}, fmt(activation === undefined ? 0 : activation, 3)),
    one.label !== null && el("span", {class: "label muted"}, words(one.label))];
}

function histogramOf(about) {
  const bars = about.histogram.map(([low, high, tokens]) => ({label: fmt(low, 3), value: tokens,
    tip: `${fmt(low)} to ${fmt(high)}: ${fmt(tokens)} tokens`}));
  return barChart({title: "Activations (validation)", x: "activation", y: "tokens", bars});
}

function side(title, ...children) {
  return el("section", {class: "card", "aria-label": title}, el("h2", {}, title), children);
}

function facts(entries) {
  return el("dl", {class: "facts small"}, entries.filter(Boolean)
    .map(([term, value]) => [el("dt", {}, term), el("dd", {}, value)]));
}

function nameSection({name}) {
  if (!name) return null;
  const scores = Object.entries(name.scores || {}).filter(([, value]) => value !== null);
  return side("The name", facts([
    ["Status", NAMED[name.status] || visible(String(name.status))],
    name.rating !== null && name.rating !== undefined ? ["Rating", `${fmt(name.rating)} of 5`] : null,
    ...scores.map(([key, value]) => [SCORES[key] || visible(key), fmt(value, 3)]),
  ]), [name.reason, name.rating_reason].filter(Boolean)
    .map((reason) => el("p", {class: "reason small"}, words(reason))));
}

function firingSection(about) {
  const kinds = about.kinds.map((share, kind) => [kindName(kind).replaceAll("_", " "), share])
    .filter(([, share]) => share);
  return side("Where it fires", smallTable("Shares in which it fires", ["Split", "Tokens", "Windows", "Examples"],
    Object.entries(about.rates).map(([split, rates]) => [split, ...rates.map((rate) => fmt(rate, 3))])),
  smallTable("Activation where it fires", QUANTILES, [about.quantiles.map((value) => fmt(value, 3))], true),
  facts(kinds.map(([kind, share]) => [`on ${kind}`, `${fmt(100 * share, 3)} %`])));
}

function smallTable(title, head, rows, allNumeric = false) {
  const numeric = (i) => (allNumeric || i > 0 ? "numeric" : null);
  return el("div", {class: "scroll"}, el("table", {class: "small plain"},
    el("caption", {class: "visually-hidden"}, title),
    el("thead", {}, el("tr", {}, head.map((name, i) => el("th", {scope: "col", class: numeric(i)}, name)))),
    el("tbody", {}, rows.map((row) => el("tr", {}, row.map((cell, i) => el("td", {class: numeric(i)}, cell)))))));
}

function tokenList(title, head, rows, hint) {
  if (!rows || !rows.length) return null;
  return side(title, hint && el("p", {class: "muted small"}, hint),
    smallTable(title, head, rows.map(([text, ...values]) =>
      [tokenCell(text), ...values.map((value) => fmt(value, 3))])));
}

function labelSection(labels) {
  if (!labels.length) return null;
  return side("Classes it tells apart, by AUROC", smallTable("AUROC by class", ["Class", "Validation", "Test"],
    labels.map(([label, validation, test]) => [words(labelName(label) || "–"), fmt(validation, 3), fmt(test, 3)])));
}

function hypothesesSection(hypotheses) {
  if (!hypotheses.length) return null;
  return side("Hypotheses", el("ul", {class: "plain-list small"}, 
    hypotheses.map(([target, text, confirmed, auroc, p]) => el("li", {},
      words(String(target)), ": ", words(String(text)), " ",
      el("span", {class: confirmed ? "good" : "muted"}, confirmed ? "✓ confirmed" : "not confirmed"),
      el("span", {class: "muted"}, `, AUROC ${fmt(auroc, 3)}, corrected p ${fmt(p, 3)}`)))));
}

function neighbourSection(title, measure, neighbours) {
  if (!neighbours.length) return null;
  return side(title, smallTable(title, ["Latent", measure],
    neighbours.map(([latent, similarity]) => [latentLink(latent), fmt(similarity, 3)])));
}

function steeringSection(steering) {
  if (!steering) return null;
  const prompts = [...new Set(steering.samples.map(([prompt]) => prompt))];
  return el("section", {"aria-label": "Steering"}, el("h2", {}, "Steering"),
    steering.doses.length > 0 && lineChart({title: steering.label === null ? "Dose and effect"
      : `Texts recognised as “${visible(String(steering.label))}”`, x: "dose α", y: "share", zero: true,
    series: [{name: "share", points: steering.doses}]}),
    prompts.map((prompt) => el("div", {class: "card steered"}, el("h3", {}, "Prompt: ", words(prompt)),
      el("dl", {class: "facts small"}, steering.samples.filter((one) => one[0] === prompt).map(steeredText)))));
}

function steeredText([, alpha, text, label]) {
  return [el("dt", {}, alpha === 0 ? "unsteered" : `α = ${fmt(alpha)}`),
    el("dd", {}, el("p", {class: "written", dir: "auto"}, shown(text)),
      label !== null && el("span", {class: "chip"}, words(String(label))))];
}
