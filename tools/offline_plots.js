"use strict";
// Draws each specification of DVC. `ast` has Vega interpret its expressions, so that the page needs no eval; the styles
// that Vega would add, which the page's policy forbids, stand in offline_plots.css.

const dark = window.matchMedia("(prefers-color-scheme: dark)").matches;
const pageElement = document.getElementById("page");
const heading = document.createElement("h1");
heading.textContent = document.title;
pageElement.replaceChildren(heading);

for (const { name, spec } of JSON.parse(document.getElementById("data-plots").textContent)) {
  const figure = document.createElement("figure");
  const holder = document.createElement("div");
  const caption = document.createElement("figcaption");
  caption.textContent = name;
  figure.append(holder, caption);
  pageElement.append(figure);
  window
    .vegaEmbed(holder, spec, {
      ast: true,
      renderer: "svg",
      actions: false,
      defaultStyle: false,
      theme: dark ? "dark" : undefined,
      config: { background: "transparent", axis: { gridColor: dark ? "#444" : "#ddd" } },
      tooltip: { disableDefaultStyle: true },
    })
    .catch((error) => {
      holder.textContent = `cannot be drawn: ${error.message}`;
      holder.className = "failed";
    });
}
