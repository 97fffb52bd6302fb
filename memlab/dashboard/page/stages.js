// Tab Stages: the stages as a graph, what runs, how long it still takes, and the loss as it falls.

const LOSS = "cross_entropy";

function drawStages(panel) {
  const all = Object.entries(contents.stages);
  if (!all.length) {
    panel.append(note("There is no stage yet."));
    return;
  }
  const place = element("div");
  const chart = element("div", { class: "chart" });
  const draw = () => {
    const shown = shownStages();
    place.replaceChildren(shown.size ? graph(shown, chart) : note("No stage is in this state."));
  };
  // Where all is finished, one experiment fits a screen better than all of them.
  const whole = ["all", "all"];
  const ids = contents.reports.map((report) => [report.id, report.id]);
  const over = all.every(([, stage]) => stage.state === "finished");
  const kinds = ["all", "running", "waiting", "finished", "failed", "stopped", "stale"];
  panel.append(
    element("p", { id: "totals", role: "status" }, totalsText()),
    controls(
      selection("sweep", "Of", over ? [...ids, whole] : [whole, ...ids], draw),
      selection("state", "Stages that are", kinds.map((kind) => [kind, kind]), draw),
    ),
    heading(2, "Loss"),
    chart,
    heading(2, "Stages"),
    note("A stage stands below the one that it starts from. Press stages to draw their losses; without a choice: what runs."),
    place,
    stagesTable(all),
  );
  draw();
  drawLoss(chart);
}

function totalsText() {
  const { counts, left, unknown } = contents.totals;
  const parts = Object.entries(counts).map(([state, count]) => `${count} ${state}`);
  if (left !== null) parts.push(`about ${duration(left)} left${unknown ? `, without ${unknown} stages of unknown length` : ""}`);
  return parts.join(", ");
}

// The stages of the experiment and of the state chosen, and those that they start from.
function shownStages() {
  const shown = new Set();
  const report = contents.reports.find(({ id }) => id === view.sweep);
  const own = report && new Set(report.rows.flatMap((row) => row.stages.map((stage) => stage.run)));
  for (const [name, stage] of Object.entries(contents.stages)) {
    if (own && !own.has(name)) continue;
    if (view.state !== "all" && stage.state !== view.state) continue;
    for (let at = name; at && at in contents.stages && !shown.has(at); at = contents.stages[at].start) shown.add(at);
  }
  return shown;
}

function graph(shown, chart) {
  const roots = [...shown].filter((name) => !shown.has(contents.stages[name].start));
  const after = Map.groupBy([...shown], (name) => contents.stages[name].start);
  const item = (name) => {
    const later = after.get(name) ?? [];
    return element("li", {}, stageButton(name, chart), later.length > 0 && element("ul", {}, later.map(item)));
  };
  return element("ul", { class: "graph" }, roots.map(item));
}

function stageButton(name, chart) {
  const stage = contents.stages[name];
  const picked = (view.stages ??= new Set());
  const button = element("button", { type: "button", class: `stage ${stage.state}`, "aria-pressed": String(picked.has(name)) });
  const about = [stage.state, stage.steps && `step ${stage.step.toLocaleString("en")} of ${stage.steps.toLocaleString("en")}`];
  if (stage.left !== null) about.push(`${stage.state === "waiting" ? "about " : ""}${duration(stage.left)} left`);
  button.append(
    element("strong", {}, stage.name),
    ` ${[stage.architecture, stage.seed !== null && `seed ${stage.seed}`].filter(Boolean).join(", ")}`,
    element("small", {}, about.filter(Boolean).join(", ")),
    element("small", {}, stage.arms.join(", ")),
  );
  if (stage.note) button.append(element("small", { class: "refuted" }, stage.note));
  if (stage.steps && stage.state !== "finished")
    button.append(element("progress", { max: stage.steps, value: stage.step, "aria-label": `progress of ${name}` }));
  button.addEventListener("click", () => {
    if (!picked.delete(name)) picked.add(name);
    button.setAttribute("aria-pressed", String(picked.has(name)));
    drawLoss(chart);
  });
  return button;
}

// The losses of the stages picked; else of those that run; else of the first with a curve.
function drawLoss(chart) {
  const names = Object.keys(contents.stages);
  const withCurve = (list) => list.filter((name) => lossOf(contents.stages[name]));
  const sources = [[...(view.stages ?? [])], names.filter((name) => contents.stages[name].state === "running"), withCurve(names).slice(0, 1)];
  const picked = sources.map(withCurve).find((list) => list.length) ?? [];
  const colours = Object.keys(contents.colours);
  const lines = picked.map((name, place) => ({
    label: name,
    colour: colourOf(colours[place % colours.length]),
    dash: place < colours.length ? [] : [6, 3],
    ...lossOf(contents.stages[name]),
  }));
  drawChart(chart, { id: "loss", label: "Loss of stages", xLabel: "steps of the stage", yLabel: "cross-entropy (nats per token)", lines });
}

function lossOf(stage) {
  for (const kind of ["train", "val"]) {
    const curve = stage.curves[kind] ?? {};
    const metric = Object.keys(curve).find((name) => name === LOSS || name.endsWith(`/${LOSS}`));
    const filled = metric ? curve.steps.map((_, i) => i).filter((i) => curve[metric][i] !== null) : [];
    if (filled.length) return { xs: filled.map((i) => curve.steps[i]), ys: filled.map((i) => curve[metric][i]) };
  }
  return null;
}

function stagesTable(all) {
  const head = ["run folder", "state", "step", "steps", "minutes", "arms", "architecture", "seed", "token accuracy (%)", "commit"];
  const lines = all.map(([name, stage]) => [
    name,
    stage.state,
    String(stage.step),
    String(stage.steps ?? "?"),
    (stage.seconds / 60).toFixed(1),
    stage.arms.join(", "),
    String(stage.architecture ?? "-"),
    String(stage.seed ?? "-"),
    Object.values(stage.accuracy).map((value) => numberText(value, "token_accuracy")).join(", ") || "-",
    stage.commit ? stage.commit.slice(0, 12) : "-",
  ]);
  return sortableTable("All stages", head, lines);
}
