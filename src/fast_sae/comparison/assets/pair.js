// The block `compare` (comparison/two_runs.py), and two latents side by side.

const COMPARE = readBlock("compare");
const KINDS = COMPARE.kinds;
const PAIRS = COMPARE.latents;
const ROWS = PAIRS.status.map((_, row) => row);
const SIDES = ["a", "b"];
const ROW_OF = Object.fromEntries(SIDES.map((side) => [side, new Map(ROWS.map((row) => [PAIRS[side][row], row]))]));
const ROW_AT = new Map(ROWS.map((row) => [pairId(row), row]));

function pairId(row) { // such as a17-b203, a17 or b203
  return SIDES.filter((side) => PAIRS[side][row] !== null).map((side) => `${side}${PAIRS[side][row]}`).join("-");
}

function runName(place) {
  return COMPARE.runs[place].name;
}

function pairView(row) {
  const facts = [["decoder cosine", PAIRS.cosine[row]], ["correlation of activations", PAIRS.pearson[row]],
    ["rank correlation", PAIRS.spearman[row]], ["shared top examples", PAIRS.shared_top_examples[row]]]
    .filter(([, value]) => value !== null);
  return el("div", {class: "view"},
    el("p", {}, el("a", {href: "#all"}, "All latents")),
    el("h1", {tabindex: -1}, PAIRS.status[row]),
    el("p", {class: "chips"}, facts.map(([what, value]) => [el("span", {class: "chip"}, `${what} ${fmt(value, 3)}`), " "])),
    el("div", {class: "sides"}, SIDES.map((side, place) => latentSide(row, side, place))));
}

function latentSide(row, side, place) {
  const latent = PAIRS[side][row];
  const title = [`${side.toUpperCase()}, `, words(runName(place))];
  if (latent === null) {
    return el("section", {class: "card", "aria-label": `In ${side.toUpperCase()}`}, el("h2", {}, title), nearestOf(row, side));
  }
  const about = COMPARE.details[place][latent];
  return el("section", {class: "card", "aria-label": `In ${side.toUpperCase()}`},
    el("h2", {}, title, el("span", {class: "number"}, ` latent ${latent}`)),
    el("p", {}, PAIRS[`${side}_name`][row] === null
      ? el("span", {class: "muted"}, "no name") : words(PAIRS[`${side}_name`][row])),
    el("p", {class: "muted small"}, sideFacts(row, side).map((fact, i) => [i > 0 && " · ", fact])),
    about ? [tokenLine(about.tokens), strongestTexts(about.windows)]
      : el("p", {class: "muted"}, "Its texts are not on this page; look at the run's own dashboard."));
}

function sideFacts(row, side) {
  const [label, auroc, density] = ["label", "auroc", "density"].map((what) => PAIRS[`${side}_${what}`][row]);
  return [label !== null && ["best class ", words(label), auroc !== null && `, AUROC ${fmt(auroc, 3)}`],
    density !== null && `density ${fmt(density, 3)}`].filter(Boolean);
}

function linkTo(side, latent) {
  return el("a", {href: `#${pairId(ROW_OF[side].get(latent))}`}, `latent ${latent}`);
}

function nearestOf(row, side) {
  const [by, cosine] = [PAIRS.nearest[row], PAIRS.nearest_cosine[row]];
  const [likest, pearson] = [PAIRS.nearest_by_activation[row], PAIRS.nearest_pearson[row]];
  return [el("p", {}, "Not found here."),
    by !== null && el("p", {}, "Nearest by decoder: ", linkTo(side, by), `, cosine ${fmt(cosine, 3)}.`),
    likest !== null && el("p", {}, "Most like it in what it does: ", linkTo(side, likest), `, correlation ${fmt(pearson, 3)}.`)];
}

function tokenLine(tokens) {
  return tokens.length > 0 && el("p", {class: "small"}, el("span", {class: "muted"}, "tokens of the highest lift: "),
    tokens.map((token) => [el("span", {class: "tok-text"}, token === "" ? "⟨empty⟩" : shown(token.slice(0, 40))), " "]));
}

function strongestTexts(windows) {
  const most = windows.reduce((found, [, flat]) => Math.max(found, ...pairs(flat).values()), 0) || 1;
  return el("ol", {class: "examples"}, windows.map(([number, flat]) => {
    const [one, active] = [textAt(COMPARE, number), pairs(flat)];
    const lead = [el("span", {class: "peak"}, fmt(Math.max(0, ...active.values()), 3)),
      one.label !== null && el("span", {class: "label muted"}, words(one.label))];
    return exampleItem(one, active, most, {lead});
  }));
}
