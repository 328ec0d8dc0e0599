// Two runs side by side: what is said of them, their metrics, parameters, curves, and what has become of the latents.

const statusOf = new Map();
for (const row of ROWS) statusOf.set(PAIRS.status[row], (statusOf.get(PAIRS.status[row]) || 0) + 1);
const seen = {all: null, scroll: 0, pair: null};
const {main} = frame(el("a", {href: "#all"}, words(runName(0)), " against ", words(runName(1))), themeToggle(), shortcuts([
  {keys: ["j"], says: "next latent, in the table's order", does: () => walk(1)},
  {keys: ["k"], says: "previous latent", does: () => walk(-1)},
  {keys: ["Escape"], shown: ["Esc"], says: "back to all latents", does: () => { location.hash = "#all"; }},
]));
let table = null;

function walk(step) {
  const order = table ? table.order() : ROWS;
  const at = order.indexOf(seen.pair);
  const next = order[at < 0 ? 0 : at + step];
  if (next !== undefined) location.hash = `#${pairId(next)}`;
}

function allView() {
  return el("div", {class: "view"}, el("section", {"aria-label": "In short"},
    el("h1", {tabindex: -1}, words(runName(0)), " against ", words(runName(1))),
    el("p", {class: "chips"}, COMPARE.runs.map(({name, commit}, place) => [el("span", {class: "chip"},
      `${SIDES[place].toUpperCase()} = `, words(name), commit && ` (${commit.slice(0, 7)})`), " "])),
    el("ul", {class: "plain-list"}, COMPARE.headline.map((line) => el("li", {}, visible(line)))),
    COMPARE.notes.map((note) => el("p", {class: "note"}, visible(note)))),
  metricsSection(), paramsSection(), curvesSection(), latentsSection());
}

function metricsSection() {
  const metrics = COMPARE.metrics;
  const rows = metrics.metric.map((_, row) => row);
  const differs = (row) => metrics.a[row] !== metrics.b[row]; // one that a run does not have, too
  const side = (key) => ({key, title: key.toUpperCase(), numeric: true, value: (row) => metrics[key][row],
    cell: (row) => fmtInterval(metrics[key][row], metrics[`${key}_low`][row], metrics[`${key}_high`][row])});
  const overlap = (row) => ({true: "yes", false: "no"}[metrics.intervals_overlap[row]] || null);
  const found = dataTable({caption: "Metrics", rows, filter: "Filter the metrics", columns: [
    {key: "metric", title: "Metric", value: (row) => metrics.metric[row], cell: (row) => el("code", {}, words(metrics.metric[row]))},
    side("a"), side("b"),
    {key: "difference", title: "B − A", numeric: true, value: (row) => metrics.difference[row]},
    {key: "overlap", title: "Intervals overlap", hint: "No test of the difference: both may be scored on the same texts",
      value: overlap},
  ]});
  found.keep(differs);
  return el("section", {"aria-label": "Metrics"}, el("h2", {}, "Metrics"),
    checkbox("only those that differ", true, (on) => found.keep(on ? differs : null)), found.element);
}

function checkbox(says, on, does) {
  const box = el("input", {type: "checkbox", checked: on, onchange: () => does(box.checked)});
  return el("label", {class: "check"}, box, ` ${says}`);
}

function paramsSection() {
  if (!COMPARE.params.length) return el("p", {class: "muted"}, "All parameters are the same.");
  return el("section", {"aria-label": "Parameters"}, el("h2", {}, "Parameters that differ"),
    el("div", {class: "scroll", tabindex: 0, role: "region", "aria-label": "Parameters that differ"}, el("table", {class: "data"},
      el("caption", {class: "visually-hidden"}, "Parameters that differ"),
      el("thead", {}, el("tr", {}, ["Parameter", "A", "B"].map((name) => el("th", {scope: "col"}, name)))),
      el("tbody", {}, COMPARE.params.map(([key, ...values]) => el("tr", {}, el("td", {}, el("code", {}, words(key))),
        values.map((value) => el("td", {}, value === null ? "–" : words(value)))))))));
}

function curvesSection() {
  const both = (curves) => curves.map((points, place) => ({name: `${SIDES[place].toUpperCase()} ${visible(runName(place))}`, points}));
  const charts = Object.entries(COMPARE.curves).map(([name, curves]) => lineChart({title: visible(name.replaceAll("_", " ")),
    x: "step", y: visible(name.replaceAll("_", " ")), zero: true, series: both(curves).filter(({points}) => points.length)}));
  const density = COMPARE.density.map((bins) => bins.filter(([edge]) => Number.isFinite(Number(edge)))
    .map(([edge, latents]) => [Number(edge), latents]));
  charts.push(lineChart({title: "Density of the latents", x: "log10 of the share of tokens it fires on", y: "latents",
    zero: true, series: both(density).filter(({points}) => points.length)}));
  return el("section", {"aria-label": "Curves"}, el("h2", {}, "Training and density"), el("div", {class: "charts"}, charts));
}

function latentsSection() {
  if (!COMPARE.by) return el("p", {class: "muted"}, "Latents are not compared; why not stands above.");
  table = latentsTable();
  const choice = el("select", {onchange: () => table.keep(choice.value ? (row) => PAIRS.status[row] === choice.value : null)},
    el("option", {value: ""}, `all (${fmt(ROWS.length)})`),
    [...statusOf].map(([status, count]) => el("option", {value: status}, `${status} (${fmt(count)})`)));
  return el("section", {"aria-label": "Latents"}, el("h2", {}, "Latents"),
    COMPARE.rules.map((rule) => el("p", {class: "muted small"}, visible(rule))),
    el("label", {class: "check"}, "What has become of them: ", choice), table.element);
}

function latentsTable() {
  const plain = (key, title, hint) => ({key, title, hint, numeric: true, value: (row) => PAIRS[key][row]});
  const latent = (side) => ({key: side, title: side.toUpperCase(), numeric: true, value: (row) => PAIRS[side][row]});
  const told = (side) => ({key: `${side}_is`, title: `${side.toUpperCase()} is`,
    value: (row) => PAIRS[`${side}_name`][row] || PAIRS[`${side}_label`][row], cell: (row) => toldCell(row, side)});
  return dataTable({caption: "Latents", rows: ROWS, filter: "Filter the latents", href: (row) => `#${pairId(row)}`,
    columns: [
      {key: "status", title: "Status", value: (row) => PAIRS.status[row],
        cell: (row) => el("span", {class: "status"}, PAIRS.status[row])}, latent("a"), latent("b"),
      plain("cosine", "Cosine", "Of the two decoder rows"),
      plain("pearson", "Correlation", "Of the two latents' activations over the same test examples"),
      told("a"), told("b"),
      plain("a_auroc", "A AUROC"), plain("b_auroc", "B AUROC"), plain("a_density", "A density"), plain("b_density", "B density"),
      plain("shared_top_examples", "Shared top", "Share of the examples in which both are strongest"),
      plain("nearest_cosine", "Nearest cosine", "Of a latent without a pair: with the nearest of the other run"),
      plain("nearest_pearson", "Nearest corr.", "Of a latent without a pair: the best correlation with one of the other run"),
    ]});
}

function toldCell(row, side) {
  const [name, label] = [PAIRS[`${side}_name`][row], PAIRS[`${side}_label`][row]];
  if (name !== null) return el("div", {class: "told"}, el("span", {class: "clamp"}, words(name)));
  return label === null ? "–" : el("div", {class: "told muted"}, words(label));
}

function render() {
  const row = ROW_AT.get(decodeURIComponent(location.hash.slice(1)));
  hideTip();
  seen.all = seen.all || allView();
  const inPair = row !== undefined;
  fill(main, inPair ? pairView(row) : seen.all);
  const moved = seen.pair !== (inPair ? row : null);
  seen.pair = inPair ? row : null;
  if (!moved) return;
  scrollTo(0, inPair ? 0 : seen.scroll);
  main.querySelector("h1").focus({preventScroll: true});
}

if ("scrollRestoration" in history) history.scrollRestoration = "manual";
addEventListener("scroll", () => { if (seen.pair === null) seen.scroll = scrollY; }, {passive: true});
addEventListener("hashchange", render);
render();
