// Type a sentence, see what fires: only where a server stands behind the page (src/annotate.py --serve).

const FIRST_LATENTS = 30;

function modelPanel() {
  const meta = document.querySelector('meta[name="model"]');
  if (!meta || meta.content !== "annotate") return null;
  const input = el("textarea", {id: "sentence", rows: 3, spellcheck: "false"});
  const button = el("button", {type: "submit", class: "primary"}, "See what fires");
  const status = el("p", {class: "muted small", "aria-live": "polite"});
  const result = el("div", {});
  const form = el("form", {onsubmit: (event) => {
    event.preventDefault();
    annotate(input.value, button, status, result);
  }}, el("label", {for: "sentence"}, "A text for the model"), input, button);
  return el("section", {class: "card model-panel", "aria-label": "Type a sentence, see what fires"},
    el("h2", {}, "Type a sentence, see what fires"), form, status, result);
}

async function annotate(text, button, status, result) {
  button.disabled = true;
  status.classList.remove("bad");
  status.textContent = "The model reads…";
  try {
    const response = await fetch("/annotate", {method: "POST", headers: {"Content-Type": "application/json"},
      body: JSON.stringify({text})});
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.error || `The server answered ${response.status}.`);
    const cut = answer.truncated ? "; the text went on, and was cut as in training" : "";
    const shown = Math.min(FIRST_LATENTS, answer.latents.length);
    status.textContent = `The ${fmt(shown)} strongest latents on ${fmt(answer.tokens.length)} tokens${cut}.`;
    showAnswer(result, answer);
  } catch (error) {
    status.classList.add("bad");
    status.textContent = error instanceof TypeError || error instanceof SyntaxError
      ? "The server does not answer; is src/annotate.py --serve still running?" : error.message;
  } finally {
    button.disabled = false;
  }
}

function showAnswer(result, {tokens, kinds, latents}) {
  const one = {first: 0, tokens, kinds};
  const text = tokenGroup("tokens whole", "The text's tokens");
  const draw = (active, max) => fill(text, tokensOf(one, active, max, 0, tokens.length, true));
  const buttons = latents.slice(0, FIRST_LATENTS).map(([latent, flat, most]) => {
    const choose = () => {
      buttons.forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
      draw(pairs(flat), maxOf(latent, most));
    };
    const button = el("button", {type: "button", class: "firing", "aria-pressed": "false", onclick: choose,
      onmouseenter: choose, onfocus: choose, vars: {"--share": `${share(latents, most)}%`}},
    el("span", {class: "number"}, latent), " ", nameOr(latent), el("span", {class: "peak"}, fmt(most, 3)));
    return button;
  });
  const list = el("ol", {class: "firing-list", "aria-label": "Latents that fire, the strongest first",
    onkeydown: (event) => walkButtons(event, buttons)},
  buttons.map((button, i) => el("li", {}, button,
    el("a", {href: `#latent-${latents[i][0]}`, "aria-label": `Open latent ${latents[i][0]}`}, "open"))));
  fill(result, text, latents.length ? list : el("p", {}, "No latent fires on this text."));
  if (latents.length) buttons[0].click();
  else draw(new Map(), 1);
}

function share(latents, most) {
  const strongestOfAll = latents[0][2] || 1;
  return Math.max(2, Math.round((100 * most) / strongestOfAll));
}

function maxOf(latent, most) { // shaded as on the latent's own page; stronger texts than its examples are possible
  const row = ROW_OF.get(latent);
  return Math.max(most, row === undefined ? 0 : LATENTS.max[row]) || 1;
}

function walkButtons(event, buttons) {
  const step = {ArrowDown: 1, ArrowUp: -1}[event.key];
  const at = buttons.indexOf(document.activeElement);
  if (!step || at < 0) return;
  event.preventDefault();
  buttons[Math.min(buttons.length - 1, Math.max(0, at + step))].focus();
}
