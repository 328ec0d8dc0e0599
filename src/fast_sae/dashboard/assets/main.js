// Puts the page together: its header, the views, the keys.

const searchBox = el("input", {type: "search", class: "search-box", placeholder: "Search names and texts",
  "aria-label": "Search names, classes, tokens and texts", autocomplete: "off", spellcheck: "false",
  oninput: () => goToSearch(searchBox.value.trim(), render)});
const page = {view: null, latent: null, order: ROWS, scroll: 0, overview: null, search: null};
const {main} = frame(el("a", {href: "#overview"}, visible(`${OVERVIEW.run.model} · layer ${OVERVIEW.run.layer}`)),
  el("div", {role: "search", class: "search-place"}, searchBox), themeToggle(), shortcuts([
    {keys: ["/"], says: "search", does: (event) => { event.preventDefault(); searchBox.focus(); searchBox.select(); }},
    {keys: ["j"], says: "next latent, in the table's order", does: () => step(1)},
    {keys: ["k"], says: "previous latent", does: () => step(-1)},
    {keys: ["Escape"], shown: ["Esc"], says: "back to all latents", does: leave},
    {keys: [], shown: ["←", "→"], says: "from token to token in a text that has the focus", does: () => {}},
    {keys: [], shown: ["Enter"], says: "the whole text, or back to the snippet", does: () => {}},
  ]));

function leave(event) {
  if (typing(event.target)) event.target.blur();
  if (page.view !== "overview") location.hash = "#overview";
}

function neighboursInOrder(latent) {
  const at = page.order.findIndex((row) => LATENTS.latent[row] === latent);
  const number = (place) => (page.order[place] === undefined ? null : LATENTS.latent[page.order[place]]);
  return at < 0 ? [null, number(0)] : [number(at - 1), number(at + 1)];
}

function step(way) {
  const [before, after] = neighboursInOrder(page.view === "latent" ? page.latent : null);
  const to = way > 0 ? after : before;
  if (to !== null && to !== undefined) location.hash = `#latent-${to}`;
}

function overview() {
  if (!page.overview) {
    const map = latentMap();
    let table = null;
    const follow = () => {
      if (table === null) return;
      page.order = table.order();
      map.light(page.order);
    };
    table = latentsTable({filter: "Filter the table", onorder: follow});
    page.overview = {table, element: overviewView(table, map)};
  }
  page.order = page.overview.table.order();
  return page.overview.element;
}

function search(text) {
  if (!page.search) {
    page.search = searchView(() => { if (page.search) page.order = page.search.table.order(); });
  }
  page.search.search(text);
  page.order = page.search.table.order();
  if (document.activeElement !== searchBox) searchBox.value = text;
  return page.search.element;
}

function viewOf(route) {
  if (route.view === "search") return search(route.words);
  if (route.view === "latent") return latentView(route.latent, neighboursInOrder(route.latent));
  return overview();
}

function titleOf(route) {
  const run = visible(`${OVERVIEW.run.model} layer ${OVERVIEW.run.layer}`);
  if (route.view === "latent") return visible(`Latent ${route.latent} ${latentName(route.latent) || ""} · `) + run;
  return route.view === "search" ? visible(`Search ${route.words} · `) + run : run;
}

function render() {
  const route = parseRoute(location.hash);
  const first = page.view === null;
  const moved = page.view !== route.view || page.latent !== route.latent;
  hideTip();
  fill(main, viewOf(route),
    route.unknown && el("p", {role: "status"}, `There is no part ${visible(route.unknown)} of this page.`));
  Object.assign(page, {view: route.view, latent: route.latent});
  document.title = titleOf(route);
  if (route.view !== "search") searchBox.value = "";
  if (!moved) return;
  scrollTo(0, route.view === "overview" ? page.scroll : 0);
  if (first || document.activeElement === searchBox) return;
  main.querySelector("h1").focus({preventScroll: true});
}

if ("scrollRestoration" in history) history.scrollRestoration = "manual";
addEventListener("scroll", () => { if (page.view === "overview") page.scroll = scrollY; }, {passive: true});
addEventListener("hashchange", render);
render();
