// One chart by uPlot: zoom with the mouse, with buttons and with their keys; a legend that hides and shows lines.

const zooms = {}; // by chart: [from, to] on the x axis, so that new contents keep them
const drawn = new WeakMap(); // by place: what ends the chart that is there
const hidden = {}; // by chart: {label: whether it is shown}, where somebody has chosen

// lines: [{label, colour, dash, show, xs, ys, low?, high?}], in the units shown. Draws into `place`.
function drawChart(place, { id, label, xLabel, yLabel, lines, log = false, xText = axisNumber }) {
  drawn.get(place)?.();
  place.replaceChildren();
  if (!lines.length) {
    place.append(note("There is nothing to draw."));
    return null;
  }
  const own = (hidden[id] ??= {});
  const thin = { stroke: themeColour("grid"), width: 1 };
  const text = { stroke: themeColour("text"), grid: thin, ticks: thin };
  const positive = (values) => (log ? values.map((value) => (value > 0 ? value : null)) : values);
  const series = [{ label: xLabel, value: (_, value) => (value === null ? "-" : xText(value)) }];
  const [tables, bands, partners] = [[], [], {}];
  for (const line of lines) {
    const show = own[line.label] ?? line.show ?? true;
    const common = { show, spanGaps: true, points: { show: false } };
    const shown = (_, value) => (value === null || value === undefined ? "-" : axisNumber(value));
    series.push({ ...common, label: line.label, stroke: line.colour, dash: line.dash, width: 2, value: shown });
    series[series.length - 1].points = { show: line.xs.length < 2 };
    if (line.low) {
      const first = series.length;
      series.push(...["high", "low"].map((name) => ({ ...common, label: name, class: "band", width: 0, stroke: line.colour })));
      bands.push({ series: [first, first + 1], fill: `${line.colour}26` });
      partners[first - 1] = [first, first + 1];
    }
    tables.push([line.xs, positive(line.ys), ...(line.low ? [positive(line.high), positive(line.low)] : [])]);
  }
  const data = uPlot.join(tables);
  const full = [data[0][0], data[0][data[0].length - 1]];
  const chart = new uPlot(
    {
      ...sizeOf(place),
      series,
      bands,
      scales: { x: { time: false }, y: { distr: log ? 3 : 1 } },
      axes: [
        { ...text, label: xLabel, values: (_, values) => values.map(xText) },
        { ...text, label: yLabel, size: 64, values: (_, values) => values.map((v) => (v === null ? "" : axisNumber(v))) },
      ],
      cursor: { dataIdx: nearest },
      legend: { markers: { width: 2, dash: dashOf, fill: (u, i) => (dashOf(u, i) === "solid" ? u.series[i].stroke(u, i) : "") } },
      hooks: {
        setSeries: [
          (u, place, options) => {
            if (place === null || options.show === undefined) return;
            own[u.series[place].label] = options.show;
            for (const partner of partners[place] ?? []) u.setSeries(partner, { show: options.show }, false);
            sayShown(u);
          },
        ],
        setScale: [
          (u, key) => {
            const { min, max } = u.scales.x;
            if (key === "x") zooms[id] = min > full[0] || max < full[1] ? [min, max] : null;
          },
        ],
      },
    },
    data,
    place,
  );
  const zoom = zooms[id];
  if (zoom && zoom[1] > full[0] && zoom[0] < full[1]) chart.setScale("x", { min: zoom[0], max: zoom[1] });
  chart.root.querySelector("canvas").setAttribute("role", "img");
  chart.root.querySelector("canvas").setAttribute("aria-label", label);
  makeLegendReachable(chart);
  place.append(zoomButtons(chart, full));
  const watch = new ResizeObserver(() => chart.setSize(sizeOf(place)));
  watch.observe(place);
  drawn.set(place, () => {
    watch.disconnect();
    chart.destroy();
  });
  return chart;
}

const dashOf = (chart, place) => (chart.series[place].dash?.length ? "dashed" : "solid");

function sizeOf(place) {
  const width = Math.max(240, place.clientWidth);
  return { width, height: Math.round(Math.min(420, Math.max(260, width * 0.5))) };
}

// The data point of a line that lies nearest to the cursor: lines have points at different x.
function nearest(chart, series, index) {
  const values = chart.data[series];
  const filled = (value) => value !== null && value !== undefined;
  for (let far = 0; far < values.length; far++) {
    if (filled(values[index - far])) return index - far;
    if (filled(values[index + far])) return index + far;
  }
  return index;
}

const legendRows = (chart) => [...chart.root.querySelectorAll(".u-legend .u-series")].map((row) => row.querySelector("th"));

function makeLegendReachable(chart) {
  legendRows(chart).forEach((label, place) => {
    if (place === 0 || chart.series[place].class === "band") return;
    const turn = () => chart.setSeries(place, { show: !chart.series[place].show }, true);
    label.tabIndex = 0;
    label.setAttribute("role", "button");
    label.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      turn();
    });
  });
  sayShown(chart);
}

function sayShown(chart) {
  legendRows(chart).forEach((label, place) => place && label.setAttribute("aria-pressed", String(chart.series[place].show)));
}

function zoomButtons(chart, full) {
  const move = (change) => () => {
    const { min, max } = chart.scales.x;
    const [from, to] = change(min, max);
    const width = Math.min(to - from, full[1] - full[0]);
    const start = Math.min(Math.max(from, full[0]), full[1] - width);
    chart.setScale("x", { min: start, max: start + width });
  };
  const quarter = (min, max) => (max - min) / 4;
  const moves = [
    ["+", "Zoom in", (min, max) => [min + quarter(min, max), max - quarter(min, max)]],
    ["−", "Zoom out", (min, max) => [min - 2 * quarter(min, max), max + 2 * quarter(min, max)]],
    ["←", "Earlier", (min, max) => [min - quarter(min, max), max - quarter(min, max)]],
    ["→", "Later", (min, max) => [min + quarter(min, max), max + quarter(min, max)]],
    ["Whole", "Show the whole curve", () => full],
  ];
  const all = (show) => () =>
    chart.series.forEach((line, place) => place && line.class !== "band" && chart.setSeries(place, { show }, true));
  return element(
    "div",
    { class: "buttons", role: "group", "aria-label": "Zoom and lines" },
    moves.map(([sign, name, change]) =>
      element("button", { type: "button", title: name, "aria-label": name, onclick: move(change) }, sign),
    ),
    element("button", { type: "button", onclick: all(true) }, "All lines"),
    element("button", { type: "button", onclick: all(false) }, "No lines"),
  );
}
