// One recorded game of Pong, decision by decision: the screen, and the spikes of every layer. The data are in pong.js.
"use strict";

(() => {
  const root = document.getElementById("replay");
  if (!root) return;
  const find = (name) => root.querySelector(`[data-part=${name}]`);
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
  const stream = ({ ends, numbers }) => ({ ends: new Uint32Array(bytes(ends)), numbers: new Uint16Array(bytes(numbers)) });
  const of = ({ ends, numbers }, at) => numbers.subarray(at ? ends[at - 1] : 0, ends[at]);

  const game = SNN_RL_GAME, [high, wide] = game.shape;
  const pixels = stream(game.pixels), values = stream(game.values);
  const layers = game.layers.map((layer) => ({ ...layer, ...stream(layer) }));
  const slider = find("at"), run = find("run");
  const screen = new Uint8Array(high * wide);
  let shown = -1;
  slider.max = game.actions.length - 1;

  // The screen at a decision: all changes up to it, from the first one where the slider went back.
  function advance(at) {
    if (at < shown) shown = -1;
    while (shown < at) {
      shown += 1;
      const brightness = of(values, shown);
      of(pixels, shown).forEach((pixel, n) => (screen[pixel] = brightness[n]));
    }
  }

  function drawScreen(canvas) {
    const context = canvas.getContext("2d"), image = context.createImageData(wide, high);
    screen.forEach((value, n) => image.data.set([value, value, value, 255], 4 * n));
    context.putImageData(image, 0, 0);
  }

  // Channels stand side by side, as the maps that they are; a dense layer is one rectangle.
  function drawSpikes(canvas, { shape, name }, spikes) {
    const size = shape.reduce((product, side) => product * side, 1);
    const [channels, rows, columns] = shape.length === 3 ? shape : [1, Math.ceil(size / 32), 32];
    const across = shape.length === 3 ? Math.ceil(Math.sqrt(channels * 2)) : 1, gap = shape.length === 3 ? 1 : 0;
    canvas.width = across * (columns + gap);
    canvas.height = Math.ceil(channels / across) * (rows + gap);
    const context = canvas.getContext("2d");
    context.fillStyle = "#ede7f6";
    for (let c = 0; c < channels; c++) {
      context.fillRect((c % across) * (columns + gap), Math.floor(c / across) * (rows + gap), columns, rows);
    }
    context.fillStyle = "#e65100";
    for (const neuron of spikes) {
      const c = Math.floor(neuron / (rows * columns)), inside = neuron % (rows * columns);
      const x = (c % across) * (columns + gap) + (inside % columns);
      context.fillRect(x, Math.floor(c / across) * (rows + gap) + Math.floor(inside / columns), 1, 1);
    }
    find(`${name}-count`).textContent = `${name}: ${spikes.length} of ${size.toLocaleString("en")} neurons spike`;
  }

  const meaning = (at) => game.meanings[game.actions[at]].replace(/(?<=.)FIRE/, " and fire").toLowerCase();

  function show(at) {
    advance(at);
    drawScreen(find("screen"));
    layers.forEach((layer) => drawSpikes(find(layer.name), layer, of(layer, at)));
    const before = game.rewards.slice(0, at), count = (sign) => before.filter((reward) => reward === sign).length;
    find("score").textContent = `decision ${at + 1} of ${game.actions.length}: ${meaning(at)}; `
      + `agent ${count(1)}, opponent ${count(-1)}`;
  }

  for (const { name } of layers) {
    const figure = document.createElement("figure");
    figure.innerHTML = `<canvas data-part="${name}"></canvas><figcaption data-part="${name}-count"></figcaption>`;
    find("layers").append(figure);
  }
  slider.addEventListener("input", () => show(+slider.value));
  setInterval(() => {
    if (!run.checked || +slider.value >= +slider.max) return;
    slider.value = +slider.value + 1;
    show(+slider.value);
  }, 1000 / 15); // the game's own speed: 60 pictures a second, one decision every four
  show(+slider.value);
})();
