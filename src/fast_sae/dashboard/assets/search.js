// Search: names, classes and top tokens at once through the table; texts and tokens by lift chunk by chunk.

const FOUND_SHOWN = 50; // texts, and latents by token, that one portion shows
const FOUND_KEPT = 1000;
const LATENTS_PER_TEXT = 8;
const SHOWERS = new WeakMap(); // chunk -> for each of its texts: [[latent, largest activation], ...]

function searchPattern(text) {
  return new RegExp(text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&"), "giu");
}

function showersOf(chunk) {
  if (!SHOWERS.has(chunk)) {
    const showers = chunk.texts.map(() => new Map());
    for (const [latent, about] of Object.entries(chunk.latents)) {
      for (const one of [...about.top, ...about.sampled]) {
        const active = pairs(one[one.length - 1]);
        showers[one[0]].set(latent, [Number(latent), active.get(strongest(active)) || 0]);
      }
    }
    SHOWERS.set(chunk, showers.map((found) => [...found.values()].sort((a, b) => b[1] - a[1])));
  }
  return SHOWERS.get(chunk);
}

// The parts of each token in which the pattern was found, and the first such token; null where there is none.
function marksIn(tokens, pattern) {
  const marks = new Map();
  const found = [...tokens.join("").matchAll(pattern)].map((match) => [match.index, match.index + match[0].length]);
  if (!found.length) return null;
  let start = 0;
  tokens.forEach((token, i) => {
    const end = start + token.length;
    const inside = found.filter(([from, to]) => from < end && to > start && token)
      .map(([from, to]) => [Math.max(0, from - start), Math.min(token.length, to - start)]);
    if (inside.length) marks.set(i, inside);
    start = end;
  });
  return marks;
}

function searchChunk(chunk, pattern, found) {
  chunk.texts.forEach((_, number) => {
    const one = windowOf(chunk, number);
    const marks = marksIn(one.tokens, pattern);
    if (!marks) return;
    const key = `${one.example} ${one.first}`;
    const before = found.texts.get(key);
    if (before) before.showers.push(...showersOf(chunk)[number]);
    else found.texts.set(key, {one, marks, showers: [...showersOf(chunk)[number]]});
  });
  for (const [latent, about] of Object.entries(chunk.latents)) {
    const token = about.tokens.find(([text]) => text.search(pattern) >= 0);
    if (token) found.latents.push([Number(latent), token]);
  }
}

function foundText({one, marks, showers}) {
  const strong = [...showers].sort((a, b) => b[1] - a[1]);
  const [centre] = marks.keys();
  const links = strong.slice(0, LATENTS_PER_TEXT).map(([latent, most]) =>
    el("li", {}, latentLink(latent), el("span", {class: "muted"}, ` ${fmt(most, 3)}`)));
  return exampleItem(one, new Map(), 1, {marks, centre,
    lead: one.label !== null && el("span", {class: "label muted"}, words(one.label)),
    foot: el("ul", {class: "shown-by small", "aria-label": "Latents that show this text"}, links,
      strong.length > LATENTS_PER_TEXT && el("li", {class: "muted"}, `and ${strong.length - LATENTS_PER_TEXT} more`))});
}

// A list that shows a portion of `items` and a button for the next one.
function portions(items, make, what) {
  const list = el("ul", {class: "examples"});
  let end = 0;
  const more = el("button", {type: "button", onclick: () => grow()}, `Show more ${what}`);
  const grow = () => {
    list.append(...items.slice(end, end + FOUND_SHOWN).map(make));
    end += FOUND_SHOWN;
    more.hidden = end >= items.length;
  };
  grow();
  return [list, more];
}

function searchView(onorder) {
  const heading = el("h1", {tabindex: -1});
  const table = latentsTable({filter: null, empty: "No name, class or top token matches.", onorder});
  const status = el("p", {class: "muted", role: "status"});
  const button = el("button", {type: "button"});
  const results = el("div", {});
  const state = {words: null, run: 0, running: false, timer: null};
  button.addEventListener("click", () => (state.running ? stop() : searchTexts()));

  function stop() {
    state.run += 1;
    state.running = false;
    button.textContent = "Search the texts again";
    status.textContent += " Stopped.";
  }

  async function searchTexts() {
    const run = ++state.run;
    const found = {texts: new Map(), latents: []};
    const {count} = OVERVIEW.chunks;
    state.running = true;
    button.textContent = "Stop";
    button.hidden = false;
    try {
      for (let number = 0; number < count && found.texts.size < FOUND_KEPT; number++) {
        const chunk = await loadChunk(number);
        if (run !== state.run) return;
        searchChunk(chunk, searchPattern(state.words), found);
        status.textContent = `${foundSentence(found)} in ${fmt(number + 1)} of ${fmt(count)} parts.`;
        if (number % 8 === 0 || number === count - 1) showFound(results, found);
      }
      end(run, found, found.texts.size >= FOUND_KEPT ? "The search ended there." : "");
    } catch (error) { // what was found so far is not all there is
      if (run !== state.run) return;
      end(run, found, `The search ended early: ${error.message}`);
      button.textContent = "Search the texts again";
      button.hidden = false;
    }
  }

  function end(run, found, remark) {
    if (run !== state.run) return;
    showFound(results, found);
    state.running = false;
    status.textContent = `${foundSentence(found)}. ${remark}`.trim();
    button.hidden = true;
  }

  return {
    table,
    element: el("div", {class: "view view-search"},
      el("nav", {class: "steps", "aria-label": "Latents"}, el("a", {href: "#overview"}, "All latents")), heading,
      el("section", {"aria-label": "Latents found"}, el("h2", {}, "Names, classes and top tokens"), table.element),
      el("section", {"aria-label": "Texts found"}, el("h2", {}, "Texts and tokens"),
        el("div", {class: "table-tools"}, button, status), results)),
    search(text) {
      if (text === state.words) return;
      state.words = text;
      state.run += 1;
      state.running = false;
      clearTimeout(state.timer);
      fill(heading, "Search: ", words(text));
      table.filter(text);
      fill(results);
      status.textContent = "";
      button.hidden = OVERVIEW.chunks.embedded || !text;
      button.textContent = `Search the texts (${fmt(OVERVIEW.chunks.count)} parts)`;
      if (OVERVIEW.chunks.embedded && text) state.timer = setTimeout(searchTexts, 200);
    },
  };
}

function foundSentence({texts, latents}) {
  return `${fmt(texts.size)} texts shown for some latent, and tokens of ${fmt(latents.length)} latents`;
}

function showFound(results, found) {
  const texts = [...found.texts.values()];
  fill(results,
    found.latents.length > 0 && [el("h3", {}, "Latents that fire on such a token"),
      portions(found.latents, ([latent, [token, , , lift]]) => el("li", {}, latentLink(latent), " ", tokenCell(token),
        el("span", {class: "muted small"}, ` lift ${fmt(lift, 3)}`)), "latents")],
    texts.length > 0 && [el("h3", {}, "Texts"), portions(texts, foundText, "texts")]);
}
