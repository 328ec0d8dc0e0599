// A window of text with its tokens shaded by what a latent does: a snippet, and the whole on click, Enter or Space.
//
//   exampleItem(one, active, max, {marks, centre, lead, foot})   a list item; see there
//   textAt({texts, tokens}, number)   a text of page/texts.py: {example, first, label, tokens, kinds}
//   pairs(flat)             [position, activation, position, activation, ...] as a map
//   tokenGroup(...), tokensOf(...), walkTokens(...)               its parts
//   A page whose texts these are defines KINDS, the names of the token kinds by their number.

const BEFORE = 14; // tokens of a snippet around the strongest one
const AFTER = 10;
const LONGEST = 60; // characters of a token in a snippet
let exampleNumber = 0;

function kindName(digit) {
  return KINDS[Number(digit)] || `kind ${digit}`;
}

function tokenTip(text, activation, place, kind) {
  const value = activation ? `activation ${fmt(activation)}` : "not active";
  const named = visible(text.slice(0, 80)) || "empty token";
  return `${named}\n${value} · position ${place} · ${kind.replaceAll("_", " ")}`;
}

// One token: `whole` shows all of a long one; `marks` are [start, end] of found text within it.
function tokenSpan(text, kind, {activation = 0, max, place, whole = true, marks = []}) {
  const cut = !whole && text.length > LONGEST ? `${text.slice(0, LONGEST - 15)}…${text.slice(-12)}` : text;
  const classes = ["tok", activation > 0 && "fires", KINDS[Number(kind)] !== "content" && "special"].filter(Boolean).join(" ");
  const strength = activation > 0 ? Math.min(1, Math.max(0.14, activation / max)) : null;
  return el("span", {class: classes, "data-tip": tokenTip(text, activation, place, kindName(kind)),
    vars: strength === null ? {} : {"--a": `${(strength * 100).toFixed(1)}%`}},
  text === "" ? el("span", {class: "sign"}, "⟨empty⟩") : marks.length ? markedParts(cut, marks) : shown(cut));
}

function markedParts(text, marks) {
  const parts = [];
  let end = 0;
  for (const [from, to] of marks) {
    parts.push(shown(text.slice(end, from)), el("mark", {}, shown(text.slice(from, to))));
    end = to;
  }
  return [...parts, shown(text.slice(end))];
}

function strongest(active) {
  let best = null;
  for (const [position, value] of active) if (best === null || value > active.get(best)) best = position;
  return best === null ? 0 : best;
}

// Tokens `from` to `to` of a window; `marks` maps a token to the parts of it that a search found.
function tokensOf(one, active, max, from, to, whole, marks = new Map()) {
  const spans = [];
  for (let i = from; i < to; i++) {
    const place = one.first + i;
    spans.push(tokenSpan(one.tokens[i], one.kinds[i],
      {activation: active.get(i) || 0, max, place, whole, marks: marks.get(i)}));
    if (whole && one.tokens[i].includes("\n")) spans.push(el("br"));
  }
  return spans;
}

// A list item of `one` = windowOf(...), active = pairs(...). centre: token that the snippet surrounds.
function exampleItem(one, active, max, {marks, centre = strongest(active), lead, foot} = {}) {
  const [from, to] = [Math.max(0, centre - BEFORE), Math.min(one.tokens.length, centre + AFTER + 1)];
  const id = `example-${exampleNumber++}`;
  const text = tokenGroup("tokens", "Text of the example", {id});
  const button = el("button", {type: "button", class: "unfold", "aria-expanded": "false", "aria-controls": id,
    "aria-label": "Whole text", onclick: () => toggle()}, el("span", {"aria-hidden": "true"}, "▸"));
  let open = false;

  function draw() {
    const [start, end] = open ? [0, one.tokens.length] : [from, to];
    fill(text, start > 0 && el("span", {class: "muted"}, "… "),
      tokensOf(one, active, max, start, end, open, marks),
      one.tokens.length === 0 && el("span", {class: "muted"}, "empty text"),
      end < one.tokens.length && el("span", {class: "muted"}, " …"));
  }

  function toggle() {
    open = !open;
    button.setAttribute("aria-expanded", String(open));
    item.classList.toggle("open", open);
    draw();
  }

  text.addEventListener("click", () => getSelection().toString() || toggle());
  text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      toggle();
      text.focus();
    }
  });
  const item = el("li", {class: "example"}, button, lead && el("div", {class: "lead"}, lead), text, foot);
  draw();
  return item;
}

function tokenGroup(kind, label, attributes = {}) {
  const text = el("p", {class: kind, dir: "auto", tabindex: 0, role: "group", "aria-label": label, ...attributes});
  text.addEventListener("keydown", (event) => walkTokens(event, text));
  return text;
}

// Arrow keys go from token to token inside a text that has the focus; the token's value shows in the tooltip.
function walkTokens(event, text) {
  const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
  if (!step) return;
  event.preventDefault();
  const tokens = [...text.querySelectorAll(".tok")];
  if (!tokens.length) return;
  const at = tokens.indexOf(document.activeElement);
  const start = step > 0 ? -1 : tokens.length;
  const next = tokens[Math.min(tokens.length - 1, Math.max(0, (at < 0 ? start : at) + step))];
  next.tabIndex = -1;
  next.focus();
  announce(next.getAttribute("data-tip"));
}

function pairs(flat) {
  const found = new Map();
  for (let i = 0; i < flat.length; i += 2) found.set(flat[i], flat[i + 1]);
  return found;
}

function textAt({texts, tokens}, number) {
  const [example, first, label, ids, kinds] = texts[number];
  return {example, first, label, tokens: ids.map((id) => tokens[id]), kinds};
}
