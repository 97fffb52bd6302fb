// The page: its tabs, and new contents where a server has them.

const TABS = {
  experiments: ["Experiments", drawExperiments],
  curves: ["Curves", drawTraining],
  arms: ["Arms", drawArms],
  reconstructions: ["Reconstructions", drawReconstructions],
  positions: ["Positions", drawPositions],
  published: ["Published", drawPublished],
  provenance: ["Provenance", drawProvenance],
  stages: ["Stages", drawStages],
  workspace: ["Workspace", drawWorkspace],
};
const EVERY = 3000; // milliseconds between two questions to the server
const given = document.getElementById("contents");
let contents = JSON.parse(given.textContent);
const live = given.dataset.mode === "live";

// Draw everything anew; what had the focus, or its successor, has it again.
function render() {
  const focus = document.activeElement?.id;
  const names = Object.keys(TABS);
  chosen("tab", live ? ["stages", ...names] : names);
  document.getElementById("source").textContent = sourceText();
  document.getElementById("problems").replaceChildren(...contents.problems.map((text) => element("li", {}, text)));
  document.getElementById("tabs").replaceChildren(...names.map(tabButton));
  const panel = document.getElementById("panel");
  panel.setAttribute("aria-labelledby", `tab-${view.tab}`);
  const top = window.scrollY;
  panel.replaceChildren();
  TABS[view.tab][1](panel);
  window.scrollTo(0, top);
  if (focus) document.getElementById(focus)?.focus({ preventScroll: true });
  document.body.dataset.drawn = view.tab;
}

function sourceText(failure = "") {
  const made = new Date(contents.made).toLocaleString();
  const thinned = `curves of at most ${contents.points} points`;
  const about = `${contents.reports.length} reports, ${Object.keys(contents.stages).length} stages, ${thinned}`;
  return `${contents.source}, ${made}${live ? ", followed" : ""}: ${about}${failure && ` (${failure})`}`;
}

function tabButton(name) {
  const isOpen = name === view.tab;
  const attributes = { type: "button", role: "tab", id: `tab-${name}`, "aria-controls": "panel" };
  const button = element("button", { ...attributes, "aria-selected": String(isOpen), tabindex: isOpen ? "0" : "-1" }, TABS[name][0]);
  button.addEventListener("click", () => openTab(name));
  button.addEventListener("keydown", (event) => {
    const names = Object.keys(TABS);
    const ways = { ArrowRight: 1, ArrowLeft: -1, Home: -names.indexOf(name), End: -1 - names.indexOf(name) };
    if (!(event.key in ways)) return;
    event.preventDefault();
    openTab(names.at((names.indexOf(name) + ways[event.key]) % names.length));
  });
  return button;
}

function openTab(name) {
  view.tab = name;
  window.history.replaceState(null, "", `#${name}`);
  render();
  window.scrollTo(0, 0);
  document.getElementById(`tab-${name}`).focus();
}

async function follow() {
  let failure = "";
  try {
    const answer = await fetch("data.json", { cache: "no-cache" });
    if (!answer.ok) throw new Error(await answer.text());
    const found = await answer.json();
    const changed = JSON.stringify({ ...found, made: "" }) !== JSON.stringify({ ...contents, made: "" });
    contents = found;
    if (changed) render();
  } catch (error) {
    failure = `no answer from the server: ${error.message}`;
  }
  document.getElementById("source").textContent = sourceText(failure);
  window.setTimeout(follow, EVERY);
}

view.tab = window.location.hash.slice(1);
render();
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", render);
window.addEventListener("hashchange", () => {
  view.tab = window.location.hash.slice(1);
  render();
});
if (live) window.setTimeout(follow, EVERY);
