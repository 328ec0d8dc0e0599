// The first view: the run, its numbers, its curves, the map and the table of all latents.

const METRICS = { // the headline ones first, in this order: title and what it says
  "evaluate.normalized_mse": ["FVU", "Squared error over the variance of the activations; 0 is perfect"],
  "evaluate.normalized_mse_varying": ["FVU without constant rows",
    "Without rows whose whole prefix is the same in all examples"],
  "evaluate.l0": ["L0", "Latents active on a token, on average"],
  "evaluate.dead_latent_fraction": ["Dead latents", "Share that never fires on the held-out split"],
  "evaluate.label_auroc": ["AUROC of labels",
    "Mean over labels of the best latent's, chosen on validation, measured on test"],
  "in_model.ce_recovered": ["Cross-entropy recovered", "With the SAE spliced into the model; 1 is lossless"],
  "interpret.balanced_accuracy": ["Detection of names",
    "Balanced accuracy with which a judge finds the texts by the name; 0.5 is chance"],
  "interpret.fuzzing_balanced_accuracy": ["Fuzzing of names",
    "Balanced accuracy with which a judge tells right marks from wrong ones; 0.5 is chance"],
  "interpret.rated_4_share": ["Names rated 4 or 5", "Share of the named latents"],
  "hypotheses.confirmed": ["Hypotheses confirmed", "On test, corrected for many tests"],
  "hypotheses.latents_auroc": ["AUROC of chosen latents", "With which they tell the targets apart"],
  "steer.rate_latent": ["Steered to the label", "Share of texts that a steered latent turns to its label"],
  "train.dead_fraction": ["Dead in training", "Share that did not fire in the last window of training"],
};
const HEADLINES = 12;
const SECTIONS = {
  prepare: "Data", train: "Training", evaluate: "Evaluation", in_model: "In the model", interpret: "Names",
  hypotheses: "Hypotheses", steer: "Steering",
};

function overviewView(table, map) {
  const view = el("div", {class: "view", id: "view-overview"}, runSection());
  const rest = el("div", {}, el("p", {class: "muted"}, "Drawing…"));
  view.append(rest);
  const draw = () => fill(rest, modelPanel(), metricsSection(), curvesSection(),
    el("section", {"aria-label": "Latents"}, el("h2", {}, "Latents"),
      el("div", {class: "map-row"}, map.element,
        el("div", {class: "beside-map"}, densityChart(), known("auroc") && classChart())),
      el("p", {class: "muted small"}, "Filter by words, or by numbers: ",
        el("code", {}, "density<0.01 auroc>0.8"), ". Points outside the filter fade on the map."),
      table.element));
  requestAnimationFrame(() => setTimeout(draw)); // the head of the page is painted first
  return view;
}

function runSection() {
  const {run} = OVERVIEW;
  const chips = [run.architecture, `M = ${fmt(run.M)}`, `K = ${fmt(run.K)}`, `d_in = ${fmt(run.d_in)}`,
    `${fmt(run.alive)} of ${fmt(run.M)} latents live`];
  const {test} = run;
  return el("section", {class: "run", "aria-label": "Run"},
    el("h1", {tabindex: -1}, words(String(run.model)), ` · layer ${run.layer}`),
    el("p", {class: "chips"}, chips.map((text) => [el("span", {class: "chip"}, visible(text)), " "])),
    el("p", {class: "muted small"}, `All texts below are from ${OVERVIEW.split}: ${fmt(test.examples)} examples, `,
      `${fmt(test.windows)} windows, ${fmt(test.tokens)} tokens. SAE `, el("code", {}, String(run.sae).slice(0, 12)),
      run.revision ? [", model revision ", el("code", {}, visible(String(run.revision)))] : null),
    el("details", {}, el("summary", {}, "Settings"), el("div", {class: "scroll"}, el("table", {class: "data settings"},
      el("caption", {class: "visually-hidden"}, "Settings that made this SAE"),
      el("thead", {}, el("tr", {}, el("th", {scope: "col"}, "Setting"), el("th", {scope: "col"}, "Value"))),
      el("tbody", {}, OVERVIEW.settings.map(([key, value]) =>
        el("tr", {}, el("td", {}, el("code", {}, visible(key))), el("td", {}, words(value)))))))));
}

function metricCard(key, [, , value, low, high]) {
  const [title, hint] = METRICS[key] || [key, null];
  return el("div", {class: "card metric", "data-tip": hint, tabindex: hint ? 0 : null},
    el("div", {class: "metric-title"}, title), el("div", {class: "metric-value"}, fmt(value)),
    el("div", {class: "metric-interval muted"}, low === null || high === null ? "" : `[${fmt(low)}, ${fmt(high)}]`),
    el("code", {class: "muted"}, words(key)));
}

function metricsSection() {
  const all = new Map(OVERVIEW.metrics.map((metric) => [`${metric[0]}.${metric[1]}`, metric]));
  const headline = Object.keys(METRICS).filter((key) => all.has(key)).slice(0, HEADLINES);
  const others = OVERVIEW.metrics.filter((metric) => !headline.includes(`${metric[0]}.${metric[1]}`));
  const sections = [...new Set(others.map((metric) => metric[0]))];
  return el("section", {"aria-label": "Metrics"}, el("h2", {}, "Metrics"),
    el("p", {class: "muted small"}, "In brackets: intervals, of the confidence that params.yaml says."),
    el("div", {class: "cards"}, headline.map((key) => metricCard(key, all.get(key)))),
    others.length ? el("details", {class: "all-metrics"}, el("summary", {}, `${fmt(others.length)} more`),
      el("div", {class: "charts"}, sections.map((section) =>
        metricTable(section, others.filter((metric) => metric[0] === section))))) : null);
}

function metricTable(section, metrics) {
  const title = SECTIONS[section] || visible(section);
  return el("div", {class: "scroll"}, el("h3", {}, title), el("table", {class: "data"},
    el("caption", {class: "visually-hidden"}, `Metrics: ${title}`),
    el("thead", {}, el("tr", {}, ["Metric", "Value", "Interval"].map((name, i) =>
      el("th", {scope: "col", class: i ? "numeric" : null}, name)))),
    el("tbody", {}, metrics.map(([, name, value, low, high]) => el("tr", {},
      el("td", {}, el("code", {}, words(name))),
      el("td", {class: "numeric"}, fmt(value)),
      el("td", {class: "numeric"}, low === null || high === null ? "" : `${fmt(low)} to ${fmt(high)}`))))));
}

function curvesSection() {
  const chart = (title, y, ...names) => {
    const series = names.map((name) => ({name: name.replaceAll("_", " "), points: OVERVIEW.curves[name] || []}))
      .filter(({points}) => points.length);
    return series.length > 0 && lineChart({title, x: "step", y, zero: true, series});
  };
  const charts = [chart("Loss", "loss", "loss", "validation_loss"), chart("L0", "latents per token", "l0"),
    chart("Dead latents", "share", "dead_fraction")].filter(Boolean);
  return charts.length ? el("section", {"aria-label": "Training"}, el("h2", {}, "Training"),
    el("div", {class: "charts"}, charts)) : null;
}

function densityChart() {
  return barChart({title: "Density of the latents", x: "log10 of the share of tokens it fires on", y: "latents",
    bars: OVERVIEW.density.map(([edge, latents]) => ({label: edge, value: latents,
      tip: `from ${visible(edge)}: ${fmt(latents)} latents`}))});
}

function classChart() {
  const bins = Array.from({length: 20}, () => 0);
  for (const auroc of LATENTS.auroc) if (auroc !== null) bins[Math.min(19, Math.floor(auroc * 20))] += 1;
  return barChart({title: "AUROC of each latent for its best class", x: "AUROC on test, 0.5 is chance", y: "latents",
    bars: bins.map((latents, i) => ({label: fmt(i / 20, 2), value: latents,
      tip: `${fmt(i / 20, 2)} to ${fmt((i + 1) / 20, 2)}: ${fmt(latents)} latents`}))});
}

function latentsTable(options = {}) {
  const column = (key, title, hint, numeric = true) => ({key, title, hint, numeric, value: (row) => LATENTS[key][row]});
  return dataTable({
    caption: "Latents", rows: ROWS, href: (row) => `#latent-${LATENTS.latent[row]}`,
    sort: {key: LATENTS.auroc.some((one) => one !== null) ? "auroc" : "density", descending: true},
    columns: [
      column("latent", "Latent", "Number of the latent", false),
      {key: "class", title: "Best class", value: (row) => labelName(LATENTS.label[row]), cell: classCell},
      column("auroc", "AUROC", "With which it tells its best class apart, on test"),
      {key: "token", title: "Top token", hint: "The token with the highest lift", value: (row) => LATENTS.token[row],
        cell: (row) => LATENTS.token[row] === null ? "–" : tokenCell(LATENTS.token[row])},
      column("density", "Density", "Share of test tokens on which it fires"),
      {key: "name", title: "Name", value: (row) => LATENTS.name[row], cell: nameCell},
      column("score", "Score", "Balanced accuracy of detection by the name; 0.5 is chance"),
      column("rating", "Rating", "1 to 5, by the judge"),
    ],
    ...options,
  });
}

function nameCell(row) {
  const [name, named] = [LATENTS.name[row], LATENTS.named[row]];
  if (!name) return el("span", {class: "muted"}, NAMED[named] || "–");
  return el("div", {class: "name-cell"}, el("span", {class: "clamp"}, words(name)),
    named === "hypothesis" && el("span", {class: "muted small"}, " · hypothesis"));
}

function classCell(row) {
  const best = labelName(LATENTS.label[row]);
  return best === null ? "–" : el("div", {class: "class-cell"}, words(best));
}

function tokenCell(text) {
  const cut = text.length > 24 ? `${text.slice(0, 24)}…` : text;
  return el("span", {class: "tok-text"}, text === "" ? "⟨empty⟩" : shown(cut));
}
