"use strict";
(() => {
  const { figures, variables } = JSON.parse(document.getElementById("figures").textContent);
  const variableOf = new Map(Object.entries(variables));
  const NARROW = 560;
  const PRINTED = 640;
  const CONFIG = { displayModeBar: false, displaylogo: false, responsive: true, scrollZoom: false, doubleClick: false };

  // Figures carry the light colours; each is replaced by what the page's own colour of that name is now.
  const painted = (value, isColour, style) => {
    if (typeof value === "string") {
      const name = isColour && variableOf.get(value);
      return name ? style.getPropertyValue(name).trim() : value;
    }
    if (Array.isArray(value)) return value.map((one) => painted(one, isColour, style));
    if (value && typeof value === "object") {
      return Object.fromEntries(
        Object.entries(value).map(([key, one]) => [key, painted(one, /color/i.test(key), style)]),
      );
    }
    return value;
  };

  // On a phone, long labels of points give way to the arms' numbers.
  const fitted = (traces, width) =>
    traces.map((trace) =>
      width < NARROW && trace.meta && trace.meta.narrow ? { ...trace, text: trace.meta.narrow } : trace,
    );

  const draw = (holder, width) => {
    const style = getComputedStyle(document.documentElement);
    const { data, layout } = painted(figures[holder.dataset.figure], false, style);
    const shown = width ? { ...layout, width, autosize: false } : layout;
    return Plotly.react(holder, fitted(data, width || holder.clientWidth), shown, CONFIG);
  };

  const holders = [...document.querySelectorAll("[data-figure]")];
  const drawAll = (width) => Promise.all(holders.map((holder) => draw(holder, width)));

  let wasNarrow = holders.map((holder) => holder.clientWidth < NARROW);
  const redrawWhereWidthMatters = () => {
    const isNarrow = holders.map((holder) => holder.clientWidth < NARROW);
    holders.forEach((holder, i) => {
      if (isNarrow[i] !== wasNarrow[i]) draw(holder);
    });
    wasNarrow = isNarrow;
  };

  drawAll().then(() => document.documentElement.setAttribute("data-drawn", "true"));
  window.addEventListener("resize", redrawWhereWidthMatters);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawAll());
  window.addEventListener("beforeprint", () => {
    document.documentElement.classList.add("printing");
    drawAll(PRINTED);
  });
  window.addEventListener("afterprint", () => {
    document.documentElement.classList.remove("printing");
    drawAll();
  });
})();
