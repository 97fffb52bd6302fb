// What the reader has chosen, and the elements to choose with.

const view = {}; // by name of the choice

// The choice of that name; the first value where nothing valid is chosen.
function chosen(name, values) {
  if (!values.includes(view[name])) view[name] = values[0];
  return view[name];
}

// options: [[value, text], ...]. change: called after the choice is made.
function selection(name, label, options, change) {
  const current = chosen(name, options.map(([value]) => value));
  const list = element("select", { id: `choice-${name}` });
  options.forEach(([value, text]) => list.append(element("option", { value, selected: value === current }, text)));
  list.addEventListener("change", () => {
    view[name] = list.value;
    change();
  });
  return element("label", {}, label, list);
}

function radios(name, label, options, change) {
  const current = chosen(name, options.map(([value]) => value));
  const choices = options.map(([value, text]) => {
    const id = `choice-${name}-${value}`;
    const choose = () => {
      view[name] = value;
      change();
    };
    return element("label", {}, element("input", { type: "radio", name, id, value, checked: value === current, onchange: choose }), text);
  });
  return element("fieldset", {}, element("legend", {}, label), choices);
}

function checkbox(name, label, change) {
  const box = element("input", { type: "checkbox", id: `choice-${name}`, checked: Boolean(view[name]) });
  box.addEventListener("change", () => {
    view[name] = box.checked;
    change();
  });
  return element("fieldset", {}, element("label", {}, box, label));
}

function slider(name, label, { min, max, step }, change) {
  view[name] ??= min;
  const bar = element("input", { type: "range", id: `choice-${name}`, min, max, step, value: view[name] });
  bar.addEventListener("input", () => {
    view[name] = Number(bar.value);
    change();
  });
  return element("label", {}, label, bar);
}

const controls = (...made) => element("div", { class: "controls" }, made);

const reportChoice = (change = render) =>
  selection("report", "Experiment", contents.reports.map((report) => [report.id, report.id]), change);

const chosenReport = () => contents.reports.find((report) => report.id === view.report) ?? contents.reports[0];

function architectureChoice(report, change) {
  const names = [...new Set(report.rows.map((row) => row.architecture))].sort();
  return selection("architecture", "Architecture", [...names.map((name) => [name, name]), ["all", "all"]], change);
}

const rowsOfChoice = (report) =>
  report.rows.filter((row) => view.architecture === "all" || row.architecture === view.architecture);

// Whether there is a report to show; else the panel says so.
function hasReports(panel) {
  if (!contents.reports.length) panel.append(note("No point of an experiment is finished yet. The tab Stages shows what runs."));
  return contents.reports.length > 0;
}
