// Tab Arms: two arms side by side.

function drawArms(panel) {
  if (!hasReports(panel)) return;
  const report = chosenReport();
  const groups = Map.groupBy(report.rows, (row) => `${row.arm}, ${row.architecture}`);
  const names = [...groups.keys()];
  const options = names.map((name) => [name, labelOf(report, groups.get(name)[0])]);
  view.right = names.includes(view.right) ? view.right : names[Math.min(1, names.length - 1)];
  const place = element("div");
  const draw = () => {
    const sides = [view.left, view.right].map((name) => groups.get(name));
    place.replaceChildren(comparison(report, sides), heading(3, "Curves"));
    const chart = element("div", { class: "chart" });
    place.append(chart);
    drawComparison(chart, report, sides);
  };
  panel.append(controls(reportChoice(), selection("left", "Left", options, draw), selection("right", "Right", options, draw)), place);
  draw();
}

const labelOf = (report, row) => `${report.arms[row.arm]?.label ?? row.arm}, ${row.architecture}`;

function comparison(report, sides) {
  const metrics = Object.keys(report.metrics).filter((metric) => sides.some((rows) => spread(rows, metric)));
  const values = metrics.map((metric) => {
    const [left, right] = sides.map((rows) => spread(rows, metric));
    const difference = left && right ? numberText(left.mean - right.mean, metric, true) : "-";
    const published = sides.map(([row]) => publishedText(report, row, metric));
    return [nameOf(metric), spreadText(left, metric), spreadText(right, metric), difference, ...published];
  });
  const about = [
    ["seeds", (rows) => rows.map((row) => row.seed).join(", ")],
    ["encoder", ([row]) => String(row.encoder ?? "-")],
    ["curriculum", ([row]) => String(row.curriculum ?? "-")],
    ["stages", ([row]) => row.stages.map((stage) => contents.stages[stage.run]?.name ?? stage.run).join(" → ")],
    ["steps of the whole chain", (rows) => Math.round(mean(rows.map((row) => row.steps))).toLocaleString("en")],
    ["minutes of the whole chain", (rows) => (mean(rows.map((row) => row.seconds)) / 60).toFixed(1)],
  ].map(([name, of]) => [name, of(sides[0]), of(sides[1]), "", "-", "-"]);
  const [left, right] = sides.map(([row]) => labelOf(report, row));
  const head = ["", left, right, "left − right", "published, left", "published, right"];
  return sortableTable("Means over seeds, with the least and the greatest", head, [...values, ...about], [1, 2]);
}

function publishedText(report, row, metric) {
  const found = report.published.find(
    (entry) => entry.arm === row.arm && entry.architecture === row.architecture && entry.metric === metric,
  );
  return found ? numberText(found.value, metric) : "-";
}

function drawComparison(place, report, sides) {
  const metric = curveMetrics(report, "val")[0];
  const colours = [colourOf("blue"), colourOf("vermilion")];
  const lines = sides.flatMap((rows, side) => {
    const curve = metric && meanCurve(rows, "val", metric, "steps");
    return curve ? [{ label: `${side ? "right" : "left"}: ${labelOf(report, rows[0])}`, colour: colours[side], dash: [], ...curve }] : [];
  });
  drawChart(place, {
    id: `arms ${report.id}`,
    label: `${nameOf(metric ?? "")} of two arms`,
    xLabel: "steps of the decoder's stages",
    yLabel: `validation ${nameOf(metric ?? "")}`,
    lines,
  });
}
