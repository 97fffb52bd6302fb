// Tab Positions: how well each place in a chunk is predicted.

function drawPositions(panel) {
  if (!hasReports(panel)) return;
  const report = chosenReport();
  const tables = [...new Set(report.rows.flatMap((row) => Object.keys(row.places)))].sort();
  if (!tables.length) {
    panel.append(controls(reportChoice()), note("These results have no accuracy by position: they were made before it was measured."));
    return;
  }
  const place = element("div", { class: "chart" });
  const draw = () => drawPlaces(place, report);
  const metrics = ["token_accuracy", "cross_entropy"].map((metric) => [metric, nameOf(metric)]);
  panel.append(
    controls(
      reportChoice(),
      architectureChoice(report, draw),
      selection("table", "Scored", tables.map((table) => [table, table.replaceAll("/", " ") || "the stage's own objective"]), draw),
      selection("placeMetric", "Metric", metrics, draw),
      radios("lines", "Lines", [["mean", "mean over seeds"], ["each", "every seed"]], draw),
    ),
    place,
    note("Place 1 is the first token of a chunk. A place without a scored token has no point."),
  );
  draw();
}

function drawPlaces(place, report) {
  const { table, placeMetric } = view;
  const each = view.lines === "each";
  const rows = rowsOfChoice(report).filter((row) => row.places[table]);
  const lines = linesOf(report, rows, each, (own) => {
    const columns = own.map((row) => row.places[table][placeMetric]);
    const filled = columns[0].map((_, i) => i).filter((i) => columns.every((column) => typeof column[i] === "number"));
    const values = filled.map((i) => columns.map((column) => inUnit(column[i], placeMetric)));
    const curve = { xs: filled.map((i) => i + 1), ys: values.map(mean) };
    if (columns.length === 1) return curve;
    return { ...curve, low: values.map((found) => Math.min(...found)), high: values.map((found) => Math.max(...found)) };
  });
  drawChart(place, {
    id: `positions ${report.id}`,
    label: `${nameOf(placeMetric)} by place in the chunk`,
    xLabel: "place in the chunk",
    yLabel: nameOf(placeMetric),
    lines,
  });
}
