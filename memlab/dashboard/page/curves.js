// Curves: numbers of the contents as lines to draw.

const COSTS = { steps: "steps", tokens: "tokens", seconds: "seconds" };

// The points of one row, {stage and step: [x, y]}. The decoder's stages follow each other: each begins where the one
// before ended. The encoder's stages are left out, as in the figures of the reports.
function pointsOf(row, kind, metric, cost) {
  const found = new Map();
  let start = 0;
  row.stages
    .filter((stage) => stage.of === "decoder")
    .forEach((stage, place) => {
      const curve = contents.stages[stage.run]?.curves[kind];
      (curve?.[metric] ?? []).forEach((y, i) => {
        const x = curve[cost][i];
        if (y !== null && x !== null) found.set(`${place} ${curve.steps[i]}`, [start + x, inUnit(y, metric)]);
      });
      start += stage[cost];
    });
  return found;
}

function curveOf(row, kind, metric, cost) {
  const points = [...pointsOf(row, kind, metric, cost).values()];
  return { xs: points.map(([x]) => x), ys: points.map(([, y]) => y) };
}

// The mean over seeds, with the least and the greatest, at the points that all seeds have; null if there are none.
function meanCurve(rows, kind, metric, cost) {
  const chains = rows.map((row) => pointsOf(row, kind, metric, cost)).filter((points) => points.size);
  if (!chains.length) return null;
  const shared = [...chains[0].keys()].filter((key) => chains.every((points) => points.has(key)));
  if (!shared.length) return null;
  const columns = shared.map((key) => chains.map((points) => points.get(key)));
  const ys = columns.map((column) => column.map(([, y]) => y));
  const found = { xs: columns.map((column) => mean(column.map(([x]) => x))), ys: ys.map(mean) };
  if (chains.length === 1) return found;
  return { ...found, low: ys.map((values) => Math.min(...values)), high: ys.map((values) => Math.max(...values)) };
}

// An exponential mean, without the bias of its beginning; weight 0 changes nothing.
function smoothed(values, weight) {
  let sum = 0;
  let share = 0;
  return values.map((value) => {
    sum = weight * sum + (1 - weight) * value;
    share = weight * share + (1 - weight);
    return sum / share;
  });
}

function smoothedCurve(curve, weight) {
  const names = ["ys", "low", "high"].filter((name) => curve[name]);
  return { ...curve, ...Object.fromEntries(names.map((name) => [name, smoothed(curve[name], weight)])) };
}

// {name of an arm: {label, colour, dash, curve}}: arms of one colour differ in their dashes.
function looksOf(report) {
  const DASHES = [[], [8, 4], [2, 3], [12, 3, 2, 3]];
  const names = Object.keys(contents.colours);
  const seen = {};
  return Object.fromEntries(
    Object.entries(report.arms).map(([arm, about], place) => {
      const colour = about.colour ?? names[place % names.length];
      seen[colour] = (seen[colour] ?? -1) + 1;
      return [arm, { ...about, colour: colourOf(colour), dash: DASHES[seen[colour] % DASHES.length] }];
    }),
  );
}

const themeColour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const colourOf = (name) => (name === "black" ? themeColour("black") : contents.colours[name]);

// Lines of a chart, one per arm and architecture: the mean over seeds, or every seed.
function linesOf(report, rows, each, curveOfRows) {
  const looks = looksOf(report);
  const several = new Set(rows.map((row) => row.architecture)).size > 1;
  const groups = Map.groupBy(rows, (row) => JSON.stringify([row.arm, row.architecture, each && row.seed]));
  return [...groups.values()].flatMap((own) => {
    const curve = curveOfRows(own);
    const { arm, architecture, seed } = own[0];
    const label = [looks[arm].label, several && architecture, each && `seed ${seed}`].filter(Boolean).join(", ");
    if (curve === null || !curve.xs.length) return [];
    const dash = several && architecture !== rows[0].architecture ? [3, 3] : looks[arm].dash;
    return [{ label, colour: looks[arm].colour, dash, show: looks[arm].curve, ...curve }];
  });
}
