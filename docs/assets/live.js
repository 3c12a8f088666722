// CartPole without velocities, played by a spiking agent in the browser. Needs agent.js and the weights before it.
"use strict";

// The physics of gymnasium's CartPole-v1: explicit Euler steps of 0.02 s in double precision (Barto, Sutton & Anderson 1983).
const GRAVITY = 9.8, CART = 1.0, POLE = 0.1, HALF_LENGTH = 0.5, FORCE = 10.0, SECONDS = 0.02;
const WIDTH = 2.4, ANGLE = (12 * 2 * Math.PI) / 360, LIMIT = 500;

class CartPole {
  // `random` gives numbers in [0, 1).
  constructor(random = Math.random) {
    this.random = random;
    this.reset();
  }

  reset() {
    [this.x, this.speed, this.angle, this.turning] = [0, 0, 0, 0].map(() => this.random() * 0.1 - 0.05);
    this.steps = 0;
  }

  // What the agent sees: where the cart and the pole are, not how fast they move.
  get observation() {
    return [Math.fround(this.x), Math.fround(this.angle)];
  }

  get fallen() {
    return Math.abs(this.x) > WIDTH || Math.abs(this.angle) > ANGLE;
  }

  step(action) {
    const force = action === 1 ? FORCE : -FORCE;
    const cos = Math.cos(this.angle), sin = Math.sin(this.angle), total = CART + POLE;
    const push = (force + POLE * HALF_LENGTH * this.turning * this.turning * sin) / total;
    const twist = (GRAVITY * sin - cos * push) / (HALF_LENGTH * (4.0 / 3.0 - (POLE * cos * cos) / total));
    const pull = push - (POLE * HALF_LENGTH * twist * cos) / total;
    this.x += SECONDS * this.speed;
    this.speed += SECONDS * pull;
    this.angle += SECONDS * this.turning;
    this.turning += SECONDS * twist;
    this.steps += 1;
  }

  // Somebody's hand: the cart gets faster at once, in metres per second.
  shove(speed) {
    this.speed += speed;
  }
}

// The world and the agent: what happens between two pictures. No drawing here, so that a test can run it without a browser.
class Play {
  constructor(agent, world = new CartPole()) {
    this.agent = agent;
    this.world = world;
    this.falls = this.held = 0; // episodes that ended in a fall, and after 500 steps
    this.begin();
  }

  get over() {
    return this.world.fallen || this.world.steps >= LIMIT;
  }

  // Whether each decision begins with membranes at rest.
  get zeroed() {
    return !this.agent.carry;
  }

  set zeroed(value) {
    this.agent.carry = !value;
  }

  begin() {
    this.world.reset();
    this.agent.reset();
    this.decision = null;
  }

  tick() {
    if (this.over) {
      this.world.fallen ? this.falls++ : this.held++;
      this.begin();
    }
    this.decision = this.agent.decide(this.world.observation);
    this.world.step(this.decision.action);
  }
}

if (typeof module !== "undefined") module.exports = { CartPole, Play };
