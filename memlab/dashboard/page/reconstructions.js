// Tab Reconstructions: held-out texts beside what a model makes of them, with what is wrong marked.

function drawReconstructions(panel) {
  const names = Object.keys(contents.stages).filter((name) => contents.stages[name].samples.length);
  if (!names.length) {
    panel.append(note("No run here has reconstructions. Runs have them; results committed by older versions do not."));
    return;
  }
  const options = names.map((name) => [name, stageLabel(name)]).sort((a, b) => a[1].localeCompare(b[1]));
  const place = element("div");
  const draw = () => place.replaceChildren(...samplesOf([view.first, view.second].filter(Boolean)));
  panel.append(
    controls(selection("first", "Run", options, draw), selection("second", "Beside it", [["", "nothing"], ...options], draw)),
    note("Marked: what the model got wrong. It reads the true tokens before each token that it guesses."),
    place,
  );
  draw();
}

function stageLabel(name) {
  const stage = contents.stages[name];
  const arms = stage.arms.length > 3 ? [...stage.arms.slice(0, 3), "…"] : stage.arms;
  return [arms.join(" "), stage.architecture, stage.seed !== null && `seed ${stage.seed}`, name].filter(Boolean).join(", ");
}

function samplesOf(names) {
  const runs = names.map((name) => [name, contents.stages[name].samples]);
  return runs[0][1].map((sample, place) =>
    element(
      "section",
      { class: "sample", "aria-label": `Text ${place + 1}` },
      heading(3, `Text ${place + 1}`),
      element("div", { class: "text" }, sample.parts.map(([text]) => text).join("")),
      element("div", { class: "sides" }, runs.map(([name, samples]) => samples[place] && regenerated(name, samples[place], sample))),
    ),
  );
}

function regenerated(name, sample, first) {
  const wrong = sample.parts.filter(([, , right]) => !right);
  const count = (parts) => parts.reduce((sum, [, , , tokens]) => sum + tokens, 0);
  const result =
    sample.by === "tokens"
      ? `${count(wrong)} of ${count(sample.parts)} tokens wrong`
      : "compared by letters: this run did not keep which tokens are wrong";
  const textOf = ({ parts }) => parts.map(([text]) => text).join("");
  return element(
    "div",
    {},
    note(`${stageLabel(name)}: ${result}`),
    textOf(sample) !== textOf(first) && note(`Another text: ${textOf(sample)}`),
    element("div", { class: "text" }, sample.parts.map(([, guess, right]) => (right ? guess : element("mark", {}, guess || "␣")))),
  );
}
