// Draws the live agent: the cart and the pole, the membranes and the spikes. live.js says what happens; here is only how it looks.
"use strict";

(() => {
  const root = document.getElementById("live");
  if (!root) return;
  const find = (name) => root.querySelector(`[data-part=${name}]`);
  const play = new Play(new SpikingAgent(SNN_RL_AGENT));
  const slow = find("slow"), pause = find("pause"), zero = find("zero");

  zero.addEventListener("change", () => (play.zeroed = zero.checked));
  pause.addEventListener("click", () => (pause.textContent = pause.textContent === "Pause" ? "Go on" : "Pause"));
  const shove = (speed) => play.world.shove(speed);
  for (const [name, speed] of [["left", -0.6], ["right", 0.6]]) {
    find(name).addEventListener("click", () => shove(speed));
  }
  document.addEventListener("keydown", (event) => {
    if (event.target.matches("input, textarea")) return;
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      shove(event.key === "ArrowLeft" ? -0.6 : 0.6);
      event.preventDefault();
    }
  });
  find("world").addEventListener("pointerdown", (event) => {
    const box = event.target.getBoundingClientRect();
    shove(event.clientX - box.left < box.width / 2 ? 0.6 : -0.6); // the finger pushes away from itself
  });

  function drawWorld(canvas) {
    const context = canvas.getContext("2d"), { width, height } = canvas, { x, angle, fallen } = play.world;
    const metre = width / (2 * WIDTH + 0.8), ground = height - 40, at = width / 2 + x * metre;
    const ink = getComputedStyle(root).color;
    context.clearRect(0, 0, width, height);
    context.strokeStyle = ink;
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(0, ground + 20);
    context.lineTo(width, ground + 20);
    for (const edge of [-WIDTH, WIDTH]) {
      context.moveTo(width / 2 + edge * metre, ground + 12);
      context.lineTo(width / 2 + edge * metre, ground + 28);
    }
    context.stroke();
    context.fillStyle = ink;
    context.fillRect(at - 34, ground - 12, 68, 32);
    context.strokeStyle = fallen ? "#d32f2f" : "#e08a1e";
    context.lineWidth = 10;
    context.lineCap = "round";
    context.beginPath();
    context.moveTo(at, ground - 12);
    context.lineTo(at + Math.sin(angle) * 2 * HALF_LENGTH * metre, ground - 12 - Math.cos(angle) * 2 * HALF_LENGTH * metre);
    context.stroke();
    if (play.decision) {
      const way = play.decision.action === 1 ? 1 : -1; // what the agent does: a push from the left or from the right
      context.strokeStyle = "#7e57c2";
      context.lineWidth = 4;
      context.beginPath();
      context.moveTo(at - way * 66, ground + 4);
      context.lineTo(at - way * 40, ground + 4);
      context.lineTo(at - way * 48, ground - 4);
      context.moveTo(at - way * 40, ground + 4);
      context.lineTo(at - way * 48, ground + 12);
      context.stroke();
    }
  }

  function drawLayer(canvas, membranes, spikes, threshold) {
    const context = canvas.getContext("2d"), columns = 32, side = canvas.width / columns;
    context.clearRect(0, 0, canvas.width, canvas.height);
    membranes.forEach((potential, neuron) => {
      const share = Math.max(-1, Math.min(1, potential / threshold)); // of what a spike takes
      const strength = Math.abs(share);
      context.fillStyle = spikes[neuron]
        ? "#ff9800"
        : `rgba(${share < 0 ? "66, 133, 244" : "126, 87, 194"}, ${(0.06 + 0.8 * strength).toFixed(3)})`;
      context.fillRect((neuron % columns) * side + 1, Math.floor(neuron / columns) * side + 1, side - 2, side - 2);
    });
  }

  function draw() {
    drawWorld(find("world"));
    find("steps").textContent = `${play.world.steps}`;
    find("held").textContent = `${play.held}`;
    find("falls").textContent = `${play.falls}`;
    if (!play.decision) return;
    const { membranes, spikes, q } = play.decision;
    membranes.forEach((layer, index) => {
      const last = spikes[index].at(-1); // of the decision's timesteps
      drawLayer(find(`layer${index + 1}`), layer, last, play.agent.layers[index].threshold);
      const fired = last.reduce((sum, spike) => sum + spike, 0);
      find(`rate${index + 1}`).textContent = `${fired} of ${layer.length} spike`;
    });
    find("q").textContent = [...q].map((value) => value.toFixed(2)).join(" / ");
  }

  let last = 0, due = 0;
  function frame(now) {
    due = Math.min(due + (now - last) / 1000, 0.1); // a hidden tab does not catch up
    last = now;
    const seconds = slow.checked ? 10 * SECONDS : SECONDS;
    while (due >= seconds && pause.textContent === "Pause") {
      play.tick();
      if (play.over && !slow.checked) due -= 25 * SECONDS; // so that one sees how it ended
      due -= seconds;
    }
    draw();
    requestAnimationFrame(frame);
  }
  window.liveAgent = play; // for the test, and for the curious
  requestAnimationFrame(frame);
})();
