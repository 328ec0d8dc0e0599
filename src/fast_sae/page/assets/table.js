// A table that sorts, filters and grows as one scrolls: quick with tens of thousands of rows, of which it builds few.
//
//   dataTable({caption, columns, rows, sort, filter, href, rowClass, empty, onorder}) -> table
//     columns   [{key, title, value(row), cell(row), text(row), numeric, hint}]
//               value: number, text or null, sorted by (null always last); cell: what is shown, children of el()
//               (default: value, formatted); text: what the filter searches (default: value where it is a text);
//               numeric: right-aligned, first click sorts descending; hint: tooltip of the header
//     rows      a list of anything
//     sort      {key, descending} at first; filter  label of the filter box, or null for none
//     href      (row) -> link, which the first cell holds; one to "#..." opens by a click anywhere in the row
//     rowClass  (row) -> class or null; empty  sentence where no row is left; onorder  () called after each change
//   table.element; table.order() rows as they stand; table.filter(words); table.sort(key, descending);
//   table.keep(row -> bool or null) a further condition; table.box the filter's <input> or null
//   Filter words must all occur; `key>number` and `key<number` compare a column: "label density<0.01 auroc>0.8".

const PORTION = 100;

function dataTable(options) {
  const {caption, columns, rows, filter = null, onorder = () => {}, empty = "No row matches."} = options;
  const state = {key: null, descending: false, words: "", keep: null, order: rows, built: 0, haystacks: null};
  Object.assign(state, options.sort || {});
  const body = el("tbody", {});
  const count = el("p", {class: "table-count muted", role: "status"});
  const more = el("button", {type: "button", class: "more", onclick: () => grow()}, "Show more rows");
  const headers = columns.map((column) =>
    headerCell(column, state, (descending) => table.sort(column.key, descending)));
  const box = filter && el("input", {type: "search", "aria-label": filter, placeholder: filter, class: "table-filter",
    autocomplete: "off", spellcheck: "false", oninput: () => table.filter(box.value)});

  function grow() {
    const next = state.order.slice(state.built, state.built + PORTION);
    body.append(...next.map((row) => rowOf(row, options)));
    state.built += next.length;
    more.hidden = state.built >= state.order.length;
  }

  function rebuild() {
    state.order = sorted(kept(rows, columns, state), columns, state);
    state.built = 0;
    body.replaceChildren();
    grow();
    if (!state.order.length) body.append(el("tr", {}, el("td", {colspan: columns.length, class: "muted"}, empty)));
    const all = fmt(rows.length);
    fill(count, state.order.length === rows.length ? `${all} rows` : `${fmt(state.order.length)} of ${all} rows`);
    headers.forEach((header, i) => header.setAttribute("aria-sort",
      columns[i].key !== state.key ? "none" : state.descending ? "descending" : "ascending"));
    onorder();
  }

  const table = {
    box,
    order: () => state.order,
    sort(key, descending) { Object.assign(state, {key, descending}); rebuild(); },
    filter(words) { state.words = words; rebuild(); },
    keep(keep) { state.keep = keep; rebuild(); },
    element: el("div", {class: "table-frame"}, el("div", {class: "table-tools"}, box, count),
      el("div", {class: "scroll", tabindex: 0, role: "region", "aria-label": caption},
        el("table", {class: "data"}, el("caption", {class: "visually-hidden"}, caption),
          el("thead", {}, el("tr", {}, headers)), body)), more),
  };
  new IntersectionObserver((seen) => seen.some((one) => one.isIntersecting) && grow(), {rootMargin: "600px"})
    .observe(more);
  rebuild();
  return table;
}

function headerCell(column, state, sort) {
  const first = Boolean(column.numeric);
  return el("th", {scope: "col", class: column.numeric ? "numeric" : null, "aria-sort": "none"},
    el("button", {type: "button", "data-tip": column.hint,
      onclick: () => sort(state.key === column.key ? !state.descending : first)}, column.title));
}

function rowOf(row, {columns, href, rowClass}) {
  const link = href && href(row);
  const here = link && link.startsWith("#");
  const cells = columns.map((column, i) => {
    const value = column.cell ? column.cell(row) : shownValue(column.value(row));
    return el("td", {class: column.numeric ? "numeric" : null}, link && i === 0 ? el("a", {href: link}, value) : value);
  });
  const open = (event) => event.target.closest("a, button") || getSelection().toString() || (location.hash = link);
  const classes = [here && "opens", rowClass && rowClass(row)].filter(Boolean).join(" ");
  return el("tr", {class: classes || null, onclick: here ? open : null}, cells);
}

function shownValue(value) {
  if (value === null || value === undefined) return "–";
  return typeof value === "number" ? fmt(value) : words(String(value));
}

function haystack(row, columns) {
  return columns.map((column) => {
    const text = column.text ? column.text(row) : column.value(row);
    return text === null || text === undefined ? "" : String(text);
  }).join("\n").toLowerCase();
}

function kept(rows, columns, state) {
  const terms = state.words.toLowerCase().split(/\s+/).filter(Boolean);
  const bounds = [];
  const texts = [];
  for (const term of terms) {
    const bound = /^(\w+)([<>])(-?[\d.]+(?:e-?\d+)?)$/.exec(term);
    const column = bound && columns.find((one) => one.key.toLowerCase() === bound[1]);
    if (column) bounds.push((row) => beyond(column.value(row), bound[2], Number(bound[3])));
    else texts.push(term);
  }
  if (texts.length && !state.haystacks) state.haystacks = rows.map((row) => haystack(row, columns));
  return rows.filter((row, i) => bounds.every((bound) => bound(row)) &&
    texts.every((text) => state.haystacks[i].includes(text)) && (!state.keep || state.keep(row)));
}

function beyond(value, comparison, limit) {
  if (typeof value !== "number") return false;
  return comparison === "<" ? value < limit : value > limit;
}

function sorted(rows, columns, {key, descending}) {
  const column = columns.find((one) => one.key === key);
  if (!column) return rows;
  const way = descending ? -1 : 1;
  const keyed = rows.map((row) => [column.value(row), row]);
  const known = keyed.filter(([value]) => value !== null && value !== undefined);
  const unknown = keyed.filter(([value]) => value === null || value === undefined);
  const compare = known.every(([value]) => typeof value === "number")
    ? (a, b) => a[0] - b[0] : (a, b) => COLLATOR.compare(a[0], b[0]);
  return [...known.sort((a, b) => way * compare(a, b)), ...unknown].map(([, row]) => row);
}

const COLLATOR = new Intl.Collator("en", {numeric: true, sensitivity: "base"});
