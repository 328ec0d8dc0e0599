// Charts as SVG figures: a title, axes with ticks, values on hover, and the same values in a table for screen readers.
//
//   lineChart({title, x, y, series: [{name, points: [[x, y], ...] or [[x, y, low, high], ...]}], zero})
//       several lines; low and high draw an interval; `zero` starts the y axis at 0. null values leave a gap.
//   barChart({title, x, y, bars: [{label, value, tip}]})   bars or a histogram; `tip` in place of "label: value"
//   Both return a <figure class="chart">. x and y name the axes. Labels of bars are thinned out where they are many.

const CHART = {width: 460, height: 232, left: 52, right: 12, top: 10, bottom: 40};

function ticks(low, high, count = 5) {
  if (high === low) return [low];
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= raw * 0.999);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) found.push(i * step);
  return found;
}

function extent(values, zero) {
  const known = values.filter((value) => value !== null && Number.isFinite(value));
  let low = known.length ? known.reduce((a, b) => Math.min(a, b)) : 0;
  let high = known.length ? known.reduce((a, b) => Math.max(a, b)) : 1;
  if (zero) [low, high] = [Math.min(0, low), Math.max(0, high)];
  if (high > low) return [low, high];
  return zero ? [0, 1] : [low - 0.5, high + 0.5];
}

function scale([low, high], from, to) {
  return (value) => from + ((value - low) / (high - low)) * (to - from);
}

function yAxis(at, marks, name) {
  const {width, height, left, right, top, bottom} = CHART;
  return svg("g", {class: "axis"},
    marks.map((mark) => [
      svg("line", {class: "grid-line", x1: left, x2: width - right, y1: at(mark), y2: at(mark)}),
      svg("text", {x: left - 6, y: at(mark) + 4, "text-anchor": "end"}, fmt(mark, 3)),
    ]),
    svg("text", {class: "axis-name", "text-anchor": "middle",
      transform: `translate(11 ${(top + height - bottom) / 2}) rotate(-90)`}, name));
}

function xAxis(marks, name) {
  const {width, height, left, right, bottom} = CHART;
  const base = height - bottom;
  return svg("g", {class: "axis"},
    svg("line", {class: "axis-line", x1: left, x2: width - right, y1: base, y2: base}),
    marks.map(([place, text]) => svg("text", {x: place, y: base + 15, "text-anchor": "middle"}, text)),
    svg("text", {class: "axis-name", x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle"}, name));
}

function figure(title, alternative, drawing, legend, head, rows) {
  const table = el("table", {}, el("caption", {}, title),
    el("thead", {}, el("tr", {}, head.map((name) => el("th", {scope: "col"}, name)))),
    el("tbody", {}, rows.map((row) => el("tr", {}, row.map((cell) => el("td", {}, cell))))));
  drawing.setAttribute("role", "img");
  drawing.setAttribute("aria-label", `${title}. ${alternative}`);
  return el("figure", {class: "chart"}, el("figcaption", {}, title), legend, drawing,
    el("div", {class: "visually-hidden"}, table));
}

function canvasOf(...children) {
  return svg("svg", {viewBox: `0 0 ${CHART.width} ${CHART.height}`, preserveAspectRatio: "xMidYMid meet"}, children);
}

function barChart({title, x, y, bars}) {
  const {width, height, left, right, top, bottom} = CHART;
  const range = extent(bars.map((bar) => bar.value), true);
  const marks = ticks(...range);
  range[1] = Math.max(range[1], ...marks);
  const at = scale(range, height - bottom, top);
  const step = (width - left - right) / Math.max(1, bars.length);
  const every = Math.max(1, Math.ceil((bars.length * 44) / (width - left - right)));
  const labels = bars.flatMap((bar, i) => i % every ? [] : [[left + step * (i + 0.5), visible(bar.label)]]);
  const drawing = canvasOf(yAxis(at, marks, y), bars.map((bar, i) => svg("g", {class: "bar",
    "data-tip": bar.tip || `${visible(bar.label)}: ${fmt(bar.value)}`},
  svg("rect", {class: "hit", x: left + step * i, y: top, width: step, height: height - bottom - top}),
  svg("rect", {class: "ink", x: left + step * i + Math.min(1, step * 0.1), y: Math.min(at(bar.value), at(0)),
    width: Math.max(0.5, step - Math.min(2, step * 0.2)), height: Math.abs(at(0) - at(bar.value))}))),
  xAxis(labels, x));
  const peak = bars.length ? bars.reduce((a, b) => (b.value > a.value ? b : a)) : null;
  const alternative = peak
    ? `${bars.length} bars, the highest at ${visible(peak.label)}: ${fmt(peak.value)}.` : "Empty.";
  return figure(title, alternative, drawing, null, [x, y], bars.map((bar) => [visible(bar.label), fmt(bar.value)]));
}

function linePath(points, across, up) {
  let path = "";
  let open = false;
  for (const [x, y] of points) {
    if (y !== null) path += `${open ? "L" : "M"}${across(x).toFixed(1)} ${up(y).toFixed(1)}`;
    open = y !== null;
  }
  return path;
}

function whiskers(points, across, up) {
  return points.filter((point) => point.length > 2 && point[2] !== null && point[3] !== null)
    .map(([x, , low, high]) =>
      svg("line", {class: "whisker", x1: across(x), x2: across(x), y1: up(low), y2: up(high)}));
}

function readingsAt(series, x) {
  return series.map(({name, points}) => {
    const point = points.find((one) => one[0] === x);
    return point && [name, point.length > 2 ? fmtInterval(...point.slice(1)) : fmt(point[1])];
  });
}

function followPointer(drawing, series, steps, across) {
  const guide = svg("line", {class: "guide", y1: CHART.top, y2: CHART.height - CHART.bottom, visibility: "hidden"});
  drawing.append(guide);
  drawing.addEventListener("pointermove", (event) => {
    const box = drawing.getBoundingClientRect();
    const place = ((event.clientX - box.left) / box.width) * CHART.width;
    const x = steps.reduce((a, b) => (Math.abs(across(b) - place) < Math.abs(across(a) - place) ? b : a));
    guide.setAttribute("x1", across(x));
    guide.setAttribute("x2", across(x));
    guide.setAttribute("visibility", "visible");
    const values = readingsAt(series, x).filter(Boolean).map(([name, value]) => `${name} ${value}`);
    pointTip(box.left + (across(x) / CHART.width) * box.width, box.top + 12, `${fmt(x)}: ${values.join(", ")}`);
  });
  drawing.addEventListener("pointerleave", () => {
    guide.setAttribute("visibility", "hidden");
    hideTip();
  });
}

function lineChart({title, x, y, series, zero = false}) {
  const {width, height, left, right, top, bottom} = CHART;
  const steps = [...new Set(series.flatMap(({points}) => points.map((point) => point[0])))].sort((a, b) => a - b);
  const range = extent(series.flatMap(({points}) => points.flatMap((point) => point.slice(1))), zero);
  const span = extent(steps, false);
  const across = scale(span, left + 6, width - right - 6);
  const up = scale(range, height - bottom, top);
  const drawing = canvasOf(yAxis(up, ticks(...range), y), series.map(({points}, i) =>
    svg("g", {class: `series s${i % 4}`}, svg("path", {d: linePath(points, across, up)}), whiskers(points, across, up),
      points.length <= 24 && points.filter((point) => point[1] !== null)
        .map((point) => svg("circle", {cx: across(point[0]), cy: up(point[1]), r: 2.6})))),
  xAxis(ticks(...span).map((mark) => [across(mark), fmt(mark, 3)]), x));
  if (steps.length) followPointer(drawing, series, steps, across);
  const legend = series.length > 1 && el("ul", {class: "legend"}, series.map(({name}, i) =>
    el("li", {}, svg("svg", {class: `series s${i % 4}`, viewBox: "0 0 26 8"}, svg("path", {d: "M0 4H26"})), name)));
  const alternative = series.filter(({points}) => points.length).map(({name, points}) =>
    `${name} from ${fmt(points[0][1])} to ${fmt(points[points.length - 1][1])}`).join("; ");
  return figure(title, `${alternative}.`, drawing, legend, [x, ...series.map(({name}) => name)],
    steps.map((step) => [fmt(step), ...readingsAt(series, step).map((one) => (one ? one[1] : "–"))]));
}
