// Tab Curves: how a metric changed during training.

function drawTraining(panel) {
  if (!hasReports(panel)) return;
  const report = chosenReport();
  const place = element("div", { class: "chart" });
  const kinds = [["val", "validation"], ["train", "training"]].filter(([kind]) => curveMetrics(report, kind).length);
  if (!kinds.length) {
    panel.append(controls(reportChoice()), note("These results have no curves."));
    return;
  }
  const kind = chosen("kind", kinds.map(([name]) => name));
  const draw = () => drawCurves(place, report);
  panel.append(
    controls(
      reportChoice(),
      architectureChoice(report, draw),
      selection("metric", "Metric", curveMetrics(report, kind).map((metric) => [metric, nameOf(metric)]), draw),
      radios("kind", "Measured in", kinds, render),
      radios("cost", "Horizontal axis", [["steps", "steps"], ["tokens", "tokens"], ["seconds", "seconds"]], draw),
      radios("lines", "Lines", [["mean", "mean over seeds"], ["each", "every seed"]], draw),
      slider("smoothing", "Smoothing", { min: 0, max: 0.95, step: 0.05 }, draw),
      checkbox("log", "logarithmic", draw),
    ),
    place,
    note(
      "Of the decoder's stages: each begins where the one before ended. Band: from the least to the greatest seed. Drag" +
        " to zoom, double click to see all; press a name to hide or show its line.",
    ),
  );
  draw();
}

// Metrics that some curve of the report has; those of its tables come first.
function curveMetrics(report, kind) {
  const names = new Set();
  for (const row of report.rows)
    for (const stage of row.stages)
      if (stage.of === "decoder") Object.keys(contents.stages[stage.run]?.curves[kind] ?? {}).forEach((name) => names.add(name));
  const found = [...names].filter((name) => !(name in COSTS));
  return [...report.main.filter((name) => names.has(name)), ...found.filter((name) => !report.main.includes(name))];
}

function drawCurves(place, report) {
  const { kind, metric, cost, smoothing, log } = view;
  const each = view.lines === "each";
  const lines = linesOf(report, rowsOfChoice(report), each, (own) => {
    const curve = each ? curveOf(own[0], kind, metric, cost) : meanCurve(own, kind, metric, cost);
    return curve && smoothedCurve(curve, smoothing);
  });
  drawChart(place, {
    id: ["curves", report.id, cost].join(" "),
    label: `${nameOf(metric)} over ${cost}, ${report.id}`,
    xLabel: `${COSTS[cost]} of the decoder's stages`,
    yLabel: `${kind === "val" ? "validation" : "training"} ${nameOf(metric)}`,
    lines,
    log,
  });
}
