"use strict";
/*
 * A spiking agent in plain JavaScript, for browsers and Node. It computes what snn_rl computes in Python.
 *
 *   const agent = new SpikingAgent(description);      // the parsed agent.json beside this file
 *   agent.reset();                                    // an episode begins: membranes at rest
 *   const { action, q, spikes, membranes } = agent.decide(observation);
 *
 * observation: numbers as the environment gives them, images channel by channel. spikes[layer][t]: 0 or 1 for each neuron
 * at each of the T timesteps. membranes[layer]: after the decision. agent.carry = false zeroes them before each decision.
 */
class SpikingAgent {
  constructor(description) {
    Object.assign(this, { T: description.T, carry: description.carry, about: description.about });
    this.scale = description.inputScale;
    this.size = description.inputSize;
    this.layers = description.layers.map((layer) => ({
      ...layer,
      synapses: layer.synapses.map((own) => ({ ...own, weight: floats(own.weight), bias: floats(own.bias) })),
      decay: floats(layer.decay),
      recurrent: floats(layer.recurrent),
    }));
    this.readout = this.layers.pop();
    this.reset();
  }

  /** Puts all membranes to rest. */
  reset() {
    for (const layer of this.layers) {
      layer.membrane = new Float32Array(layer.size);
      layer.last = new Float32Array(layer.size); // its spikes of the timestep before, which its recurrent synapses carry
    }
  }

  /** One decision: T timesteps on one observation. */
  decide(observation) {
    if (observation.length !== this.size) throw new RangeError(`an observation has ${this.size} numbers`);
    const seen = Float32Array.from(observation, (value) => Math.fround(value) * this.scale);
    if (!seen.every(Number.isFinite)) throw new RangeError("an observation holds NaN or infinity");
    if (!this.carry) this.reset();
    const spikes = this.layers.map(() => []);
    let sent = [seen]; // the first layer sees the same at every timestep
    this.layers.forEach((layer, n) => {
      const currents = sent.map((arriving) => through(layer.synapses, arriving));
      for (let t = 0; t < this.T; t++) spikes[n].push(step(layer, currents[t % currents.length]));
      sent = spikes[n];
    });
    const mean = new Float32Array(sent[0].length);
    for (const one of sent) one.forEach((value, i) => (mean[i] += value));
    const q = through(this.readout.synapses, mean.map((value) => value / sent.length));
    return { action: q.indexOf(Math.max(...q)), q, spikes, membranes: this.layers.map((layer) => layer.membrane.slice()) };
  }
}

/** One timestep of a layer: integrate, fire, soft reset. Float32Arrays round to single precision as Python does. */
function step(layer, current) {
  const { membrane, last, decay, threshold } = layer;
  const own = layer.recurrent && dense(layer.recurrent, null, last.length, last.length, last);
  const each = membrane.length / decay.length; // neurons that share a decay
  const z = new Float32Array(membrane.length);
  for (let i = 0; i < membrane.length; i++) {
    const arriving = own ? Math.fround(current[i] + own[i]) : current[i];
    membrane[i] = Math.fround(decay[Math.floor(i / each)] * membrane[i]) + arriving;
    if (membrane[i] > threshold) {
      z[i] = 1;
      membrane[i] -= threshold;
    }
  }
  layer.last = z;
  return z;
}

/** Synapses without neurons between them, one behind the other. */
function through(synapses, values) {
  for (const own of synapses) {
    const { weight, bias, inputs, outputs } = own;
    values = own.type === "Linear" ? dense(weight, bias, inputs, outputs, values) : spread(own, values);
  }
  return values;
}

/** A dense layer. Sums are kept in double precision; zeros are skipped. */
function dense(weight, bias, inputs, outputs, values) {
  const sums = new Float64Array((values.length / inputs) * outputs);
  values.forEach((value, i) => {
    if (value === 0) return;
    const row = Math.floor(i / inputs) * outputs;
    for (let o = 0, w = i % inputs; o < outputs; o++, w += inputs) sums[row + o] += weight[w] * value;
  });
  return Float32Array.from(sums, (sum, i) => (bias ? sum + bias[i % outputs] : sum));
}

/** A convolution, or a pool: each value that is not 0 goes to the outputs that it reaches. */
function spread(layer, values) {
  const { weight, bias, groups } = layer;
  const [channels, high, wide] = layer.inputs;
  const [outChannels, outHigh, outWide] = layer.outputs;
  const [kernelHigh, kernelWide] = layer.kernel;
  const own = channels / groups; // input channels of a group
  const outs = outChannels / groups;
  const sums = new Float64Array(outChannels * outHigh * outWide);
  values.forEach((value, i) => {
    if (value === 0) return;
    const c = Math.floor(i / (high * wide));
    const y = (Math.floor(i / wide) % high) + layer.border[0];
    const x = (i % wide) + layer.border[1];
    const first = Math.floor(c / own) * outs;
    for (let ky = 0; ky < kernelHigh; ky++) {
      const oy = (y - ky * layer.dilation[0]) / layer.stride[0];
      if (oy < 0 || oy >= outHigh || !Number.isInteger(oy)) continue;
      for (let kx = 0; kx < kernelWide; kx++) {
        const ox = (x - kx * layer.dilation[1]) / layer.stride[1];
        if (ox < 0 || ox >= outWide || !Number.isInteger(ox)) continue;
        for (let o = first; o < first + outs; o++) {
          const w = weight ? weight[((o * own + (c % own)) * kernelHigh + ky) * kernelWide + kx] : 1;
          sums[(o * outHigh + oy) * outWide + ox] += w * value;
        }
      }
    }
  });
  const area = weight ? 1 : kernelHigh * kernelWide;
  return Float32Array.from(sums, (sum, i) => (bias ? sum + bias[Math.floor(i / (outHigh * outWide))] : sum / area));
}

/** Numbers in single precision, little-endian, as base64. */
function floats(text) {
  if (!text) return null;
  return new Float32Array(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
}

if (typeof module !== "undefined") module.exports = { SpikingAgent };
