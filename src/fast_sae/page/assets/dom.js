"use strict";
// What every page is built with. Files are joined into one script, so each top-level name stands once.
//
//   el(tag, attributes, ...children)   an HTML element. Attributes: {class, id, href, ...}; a property named on... is a
//                                      function and becomes a listener; null, undefined and false leave the attribute
//                                      out, true sets it empty; `vars: {"--a": 1}` sets CSS variables. Children: nodes,
//                                      texts, numbers, lists of these; null, undefined and false are skipped. Text
//                                      becomes a text node: nothing that comes from data is ever read as HTML.
//   svg(tag, attributes, ...children)  the same for SVG
//   fill(node, ...children)            puts children in place of what the node holds
//   fmt(number, digits = 4)            "1,234", "0.0647", "1.2e-7", "–" for null; fmtInterval(value, low, high)
//   visible(text)                      a text in which what cannot be seen (controls, bidi controls, zero-width
//                                      characters, line breaks, tags) is a visible sign: "␀", "↵", "⟨U+202E⟩"
//   shown(text)                        the same as a list of children, the signs as <span class="sign">
//   words(text)                        <bdi> around shown(text): a name from data inside a line of ours; it may break
//                                      after "_", "." and "/"
//   readBlock(name)                    the parsed JSON block data-NAME, or null where there is none
//   unpackBlock(name), unpack(packed)  a promise of what page.py packed into block data-NAME, or into a text
//   frame(title, ...tools)             the page's header before <main>, with a skip link; returns {header, main}
//   announce(text)                     says it to screen readers
//   Any element with a `data-tip` attribute shows it in the page's own tooltip on hover and on keyboard focus.
//   pointTip(x, y, text), hideTip()    the same tooltip, placed by hand (in pixels of the window)

const INVISIBLE = new RegExp(
  "[\\p{Cc}\\p{Cs}\\u00AD\\u034F\\u061C\\u115F\\u1160\\u17B4\\u17B5\\u180B-\\u180E\\u200B-\\u200F\\u2028-\\u202E" +
    "\\u2060-\\u206F\\u3164\\uFEFF\\uFFA0\\uFFF9-\\uFFFB\\u{E0000}-\\u{E007F}]", "gu");
const SIGNS = {"\n": "↵", "\r": "␍", "\t": "⇥", "\u007F": "␡"};

function el(tag, attributes, ...children) {
  return dress(document.createElement(tag), attributes, children);
}

function svg(tag, attributes, ...children) {
  return dress(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function dress(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "vars") {
      for (const [key, one] of Object.entries(value)) node.style.setProperty(key, one);
    } else if (typeof value === "function") {
      node.addEventListener(name.slice(2), value);
    } else {
      node.setAttribute(name, value === true ? "" : String(value));
    }
  }
  add(node, children);
  return node;
}

function add(node, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) add(node, child);
    else node.append(child instanceof Node ? child : String(child));
  }
}

function fill(node, ...children) {
  node.replaceChildren();
  add(node, children);
  return node;
}

function fmt(number, digits = 4) {
  if (number === null || number === undefined || Number.isNaN(number)) return "–";
  if (!Number.isFinite(number)) return number > 0 ? "∞" : "−∞";
  if (number === 0) return "0"; // −0 too
  const size = Math.abs(number);
  let text;
  if (Number.isInteger(number) && size < 1e15) text = number.toLocaleString("en-US");
  else if (size < 1e-4 || size >= 1e9) text = number.toExponential(Math.max(0, digits - 2));
  else text = Number(number.toPrecision(digits)).toLocaleString("en-US", {maximumSignificantDigits: digits});
  return text.replace(/^-/, "−");
}

function fmtInterval(value, low, high) {
  return low === null || high === null ? fmt(value) : `${fmt(value)} [${fmt(low)}, ${fmt(high)}]`;
}

function sign(character, offset, whole) {
  const code = character.codePointAt(0);
  const joinsEmoji = code === 0x200D && /\p{Extended_Pictographic}\uFE0F?$/u.test(whole.slice(0, offset));
  if (joinsEmoji) return character;
  if (SIGNS[character]) return SIGNS[character];
  if (code < 0x20) return String.fromCodePoint(0x2400 + code);
  return `⟨U+${code.toString(16).toUpperCase().padStart(4, "0")}⟩`;
}

function visible(text) {
  return text.replace(INVISIBLE, sign);
}

function shown(text) {
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(INVISIBLE)) {
    const mark = sign(match[0], match.index, text);
    if (mark === match[0]) continue;
    parts.push(text.slice(end, match.index), el("span", {class: "sign"}, mark));
    end = match.index + match[0].length;
  }
  parts.push(text.slice(end));
  return parts.filter((part) => part !== "");
}

function words(text) {
  return el("bdi", {}, shown(text).map((part) => part instanceof Node ? part
    : part.split(/(?<=[_./])/u).flatMap((piece, i) => (i ? [el("wbr"), piece] : [piece]))));
}

function readBlock(name) {
  const block = document.getElementById(`data-${name}`);
  return block && JSON.parse(block.textContent);
}

async function unpackBlock(name) {
  const block = document.getElementById(`data-${name}`);
  if (!block) throw new Error(`The page has no block ${name}.`);
  return unpack(block.textContent);
}

function unpack(packed) { // base64 of gzipped JSON
  const bytes = Uint8Array.from(atob(packed), (character) => character.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
}

function frame(title, ...tools) {
  const main = document.getElementById("page");
  main.tabIndex = -1;
  main.replaceChildren();
  const header = el("header", {class: "site"},
    el("button", {class: "skip", type: "button", onclick: () => main.focus()}, "Skip to the content"),
    el("div", {class: "brand"}, title),
    el("div", {class: "tools"}, tools));
  main.before(header);
  return {header, main};
}

const LIVE = el("div", {class: "visually-hidden", "aria-live": "polite", id: "live"});
const TIP = el("div", {class: "tip", id: "tip", role: "tooltip", hidden: true});

function announce(text) {
  LIVE.textContent = text;
}

function pointTip(x, y, text) {
  TIP.textContent = text;
  TIP.hidden = false;
  const {width, height} = TIP.getBoundingClientRect();
  const left = Math.min(Math.max(6, x - width / 2), document.documentElement.clientWidth - width - 6);
  const top = y - height - 10 < 4 ? y + 22 : y - height - 10;
  TIP.style.setProperty("left", `${left}px`);
  TIP.style.setProperty("top", `${top}px`);
}

function hideTip() {
  TIP.hidden = true;
}

function tipOf(event) {
  const target = event.target instanceof Element && event.target.closest("[data-tip]");
  if (!target) return;
  const box = target.getClientRects()[0] || target.getBoundingClientRect();
  pointTip(box.left + box.width / 2, box.top, target.getAttribute("data-tip"));
}

document.body.append(LIVE, TIP);
document.addEventListener("mouseover", tipOf);
document.addEventListener("focusin", tipOf);
document.addEventListener("mouseout", (event) => event.target.closest("[data-tip]") && hideTip());
document.addEventListener("focusout", hideTip);
document.addEventListener("scroll", hideTip, {passive: true, capture: true});
document.addEventListener("keydown", (event) => event.key === "Escape" && hideTip());
