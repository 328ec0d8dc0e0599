// The map of latents: a point each, near where its decoder's neighbours are. The table holds the same for those who
// cannot see or point at it.

// Cividis (Nuñez, Anderton and Renslow 2018, arXiv 1712.01662): even in brightness, the same to colour-blind eyes.
const CIVIDIS = [[0, 34, 78], [18, 53, 112], [59, 73, 108], [87, 93, 109], [112, 113, 115], [138, 134, 120],
  [165, 156, 116], [195, 179, 105], [225, 204, 85], [254, 232, 56]];
const BUCKETS = 64; // a side of the grid in which the nearest point is looked for
const REACH = 14; // pixels from a point at which the pointer still finds it
const MAP_COLOURS = {
  density: {title: "density (log scale)", value: (row) => logOf(LATENTS.density[row])},
  auroc: {title: "AUROC of its best class", value: (row) => LATENTS.auroc[row]},
  score: {title: "score of its name", value: (row) => LATENTS.score[row]},
};

function logOf(density) {
  return density > 0 ? Math.log10(density) : null;
}

function cividis(share) { // 0 to 1; in the dark the darkest tenth is left out, in the light the lightest
  const place = (isDark() ? 0.18 + 0.82 * share : 0.92 * share) * (CIVIDIS.length - 1);
  const low = Math.min(CIVIDIS.length - 2, Math.floor(place));
  const mixed = CIVIDIS[low].map((one, i) => Math.round(one + (CIVIDIS[low + 1][i] - one) * (place - low)));
  return `rgb(${mixed.join(" ")})`;
}

function bucketsOf() {
  const buckets = new Map();
  for (const row of ROWS) {
    const key = bucketAt(LATENTS.x[row], LATENTS.y[row]);
    if (!buckets.has(key)) buckets.set(key, []);
    buckets.get(key).push(row);
  }
  return buckets;
}

function bucketAt(x, y) {
  const side = (value) => Math.min(BUCKETS - 1, Math.max(0, Math.floor(value * BUCKETS)));
  return side(x) * BUCKETS + side(y);
}

function latentMap() {
  const canvas = el("canvas", {class: "map", role: "img",
    "aria-label": "Map of the latents by their decoder directions; the table below lists the same latents."});
  const legend = el("div", {class: "map-legend"});
  const state = {colour: known("auroc") ? "auroc" : "density", lit: null, side: 0, hover: null};
  const buckets = bucketsOf();
  const choice = el("select", {"aria-label": "Colour of the map's points", onchange: () => {
    state.colour = choice.value;
    draw();
  }}, Object.entries(MAP_COLOURS).filter(([key]) => known(key))
    .map(([key, {title}]) => el("option", {value: key, selected: key === state.colour}, title)));

  function draw() {
    state.side = canvas.clientWidth;
    if (state.side) drawMap(canvas, state);
    drawLegend(legend, MAP_COLOURS[state.colour]);
  }

  canvas.addEventListener("pointermove", (event) => {
    const row = nearest(event, canvas, buckets);
    if (row !== state.hover) {
      state.hover = row;
      canvas.classList.toggle("over", row !== null);
      draw();
    }
    if (row === null) return hideTip();
    return pointTip(event.clientX, event.clientY - 6, mapTip(row, state.colour));
  });
  canvas.addEventListener("pointerleave", () => { state.hover = null; hideTip(); draw(); });
  canvas.addEventListener("click", (event) => {
    const row = nearest(event, canvas, buckets);
    if (row !== null) location.hash = `#latent-${LATENTS.latent[row]}`;
  });
  new ResizeObserver(draw).observe(canvas);
  onTheme(draw);
  return {
    element: el("figure", {class: "chart map-figure"}, el("figcaption", {}, "Map of the latents"),
      el("label", {class: "map-choice small"}, "Colour: ", choice), canvas, legend),
    light(rows) { // those that the table holds; null for all
      state.lit = rows && rows.length < ROWS.length ? new Set(rows) : null;
      draw();
    },
  };
}

function mapTip(row, colour) {
  const name = LATENTS.name[row];
  const value = colour === "density" ? LATENTS.density[row] : MAP_COLOURS[colour].value(row);
  return `${LATENTS.latent[row]} · ${visible(name || knownFor(row))}\n${colour} ${fmt(value)}`;
}

function rangeOf({value}) {
  return extent(ROWS.map(value), false);
}

function drawMap(canvas, {colour, lit, side, hover}) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = canvas.height = Math.round(side * ratio);
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  const radius = Math.max(1.3, Math.min(4.5, 90 / Math.sqrt(ROWS.length)));
  const {value} = MAP_COLOURS[colour];
  const [low, high] = rangeOf(MAP_COLOURS[colour]);
  const edge = getComputedStyle(canvas).color;
  pen.lineWidth = 0.6;
  pen.strokeStyle = edge;
  const dot = (row, size) => {
    const one = value(row);
    pen.beginPath();
    pen.arc(...pointOf(row, side), size, 0, 2 * Math.PI);
    pen.globalAlpha = lit && !lit.has(row) ? 0.12 : 1;
    if (one !== null) {
      pen.fillStyle = cividis((one - low) / (high - low));
      pen.fill();
    }
    if (one === null || ROWS.length <= 4096) pen.stroke(); // without a value: a ring
  };
  for (const row of ROWS) dot(row, radius);
  if (hover !== null) {
    pen.lineWidth = 2;
    dot(hover, radius + 3);
  }
}

function pointOf(row, side) {
  const margin = 8;
  const at = (share) => margin + share * (side - 2 * margin);
  return [at(LATENTS.x[row]), at(1 - LATENTS.y[row])];
}

function nearest(event, canvas, buckets) {
  const box = canvas.getBoundingClientRect();
  const [left, top] = [event.clientX - box.left, event.clientY - box.top];
  const near = REACH / box.width + 1 / BUCKETS;
  const [x, y] = [(left - 8) / (box.width - 16), 1 - (top - 8) / (box.width - 16)];
  let best = null;
  let closest = REACH ** 2;
  for (let i = x - near; i <= x + near; i += 1 / BUCKETS) {
    for (let j = y - near; j <= y + near; j += 1 / BUCKETS) {
      for (const row of buckets.get(bucketAt(i, j)) || []) {
        const [px, py] = pointOf(row, box.width);
        const distance = (px - left) ** 2 + (py - top) ** 2;
        if (distance < closest) [best, closest] = [row, distance];
      }
    }
  }
  return best;
}

function drawLegend(legend, colour) {
  const [low, high] = rangeOf(colour);
  const back = (value) => fmt(colour === MAP_COLOURS.density ? 10 ** value : value, 2);
  const stops = Array.from({length: 9}, (_, i) => cividis(i / 8));
  fill(legend, el("span", {}, back(low)), el("span", {class: "ramp",
    vars: {"--ramp": `linear-gradient(to right, ${stops.join(", ")})`}}), el("span", {}, back(high)),
  el("span", {class: "muted"}, "○ no value"));
}
