// The one chart that can be zoomed into, drawn by uPlot from the page's JSON. The table below says the same without it.
(async () => {
  "use strict";
  const place = document.querySelector("[data-traffic]");
  if (!place) return;
  const answer = await fetch(place.dataset.traffic, { headers: { accept: "application/json" } });
  if (!answer.ok) return;
  const rows = (await answer.json()).rows;
  place.hidden = false;
  document.querySelector(".zoom-help").hidden = false;
  let chart;
  const draw = () => {
    const colours = getComputedStyle(document.documentElement);
    const colour = (name) => colours.getPropertyValue(name).trim();
    const line = (label, name) => ({ label, stroke: colour(name), width: 2, points: { show: rows.length < 80 } });
    const axis = { stroke: colour("--foreground"), grid: { stroke: colour("--border"), width: 1 } };
    if (chart) chart.destroy();
    chart = new uPlot(
      {
        width: place.clientWidth - 36,
        height: 300,
        axes: [axis, axis],
        series: [{}, line("delivered", "--bar-ok"), line("failed attempts", "--bar-bad"), line("published", "--bar-info")],
      },
      [
        rows.map((row) => row.at_ms / 1000),
        rows.map((row) => row.delivered),
        rows.map((row) => row.failed),
        rows.map((row) => row.published),
      ],
      place,
    );
  };
  draw();
  addEventListener("resize", () => chart.setSize({ width: place.clientWidth - 36, height: 300 }));
  new MutationObserver(draw).observe(document.documentElement, { attributeFilter: ["class"] });
})();
