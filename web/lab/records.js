// What the frames of a run have told so far, and what follows from it.

export const METRICS = ["train_loss", "val_loss", "train_accuracy", "val_accuracy"];
const [TRAIN, VAL] = [0, 1];

export class Records {
  count; seeds; patience;

  // count: members; seeds: of each setting; patience: that of mine and of the baseline's
  constructor(count, seeds, patience) {
    Object.assign(this, { count, seeds, patience });
    this.clear();
  }

  clear() {
    this.rows = new Map(); // epoch -> per member [train_loss, …] or undefined
    this.kept = Array(this.count).fill(0);
    this.last = Array(this.count).fill(0);
    this.status = Array(this.count).fill("running");
  }

  take({ members, epochs, metrics, status, kept }) {
    members.forEach((member, m) => {
      this.status[member] = status[m];
      this.kept[member] = kept[m];
    });
    epochs.forEach((epoch, e) => {
      if (!this.rows.has(epoch)) this.rows.set(epoch, Array(this.count));
      const row = this.rows.get(epoch);
      members.forEach((member, m) => {
        const at = 4 * (m * epochs.length + e), record = metrics.subarray(at, at + 4);
        if (Number.isNaN(record[VAL]) && status[m] !== "diverged") return;
        row[member] = record;
        if (epoch > this.last[member]) this.last[member] = epoch;
      });
    });
  }

  get epochs() {
    return [...this.rows.keys()].sort((a, b) => a - b);
  }

  get over() {
    return this.status.every((status) => status !== "running");
  }

  get diverged() {
    return this.status.includes("diverged");
  }

  get empty() {
    return this.rows.size === 0;
  }

  // A member's record that counts: of the kept epoch with patience, else the last
  final(member) {
    const row = this.patience && this.rows.get(this.kept[member]);
    return row?.[member] ?? this.rows.get(this.last[member])?.[member];
  }

  // The epoch of it
  counted(member) {
    return this.patience && this.rows.has(this.kept[member]) ? this.kept[member] : this.last[member];
  }

  // The mean curve of S members from `first` on, and its standard deviation: {epochs, mean, spread}
  // with a list per metric. A draw that has stopped counts with what it kept.
  curve(first = 0) {
    const found = { epochs: [], mean: METRICS.map(() => []), spread: METRICS.map(() => []) };
    const own = Array.from({ length: this.seeds }, (_, k) => first + k);
    for (const epoch of this.epochs) {
      const row = this.rows.get(epoch);
      const records = own.map((m) =>
        row[m] ?? (this.status[m] !== "running" && epoch > this.last[m] ? this.final(m) : undefined));
      if (records.some((record) => !record)) continue;
      found.epochs.push(epoch);
      METRICS.forEach((_, k) => {
        const { mean, deviation } = spread(records.map((record) => record[k]));
        found.mean[k].push(mean);
        found.spread[k].push(deviation);
      });
    }
    return found;
  }

  // What counts at present, means over the draws; undefined before all have a record
  results() {
    const mine = this.finals(0);
    if (!mine) return undefined;
    const mean = (k) => average(mine.map((record) => record[k]));
    const found = Object.fromEntries(METRICS.map((name, k) => [name, mean(k)]));
    found.gap = found.val_loss - found.train_loss;
    found.epoch = average(mine.map((_, k) => this.counted(k)));
    const pairs = this.pairs();
    return pairs ? { ...found, ...effect(pairs.map(([a, b]) => a - b)) } : found;
  }

  // [mine, baseline's] validation loss on each draw; null without a baseline
  pairs() {
    if (this.count === this.seeds) return null;
    const mine = this.finals(0), others = this.finals(this.seeds);
    return mine && others && mine.map((record, k) => [record[VAL], others[k][VAL]]);
  }

  finals(first) {
    const found = Array.from({ length: this.seeds }, (_, k) => this.final(first + k));
    return found.every(Boolean) ? found : null;
  }
}

const average = (values) => values.reduce((a, b) => a + b, 0) / values.length;

// Mean and standard deviation over draws (n − 1; 0 for one)
export function spread(values) {
  const mean = average(values), n = values.length;
  const squares = values.reduce((a, v) => a + (v - mean) ** 2, 0);
  return { mean, deviation: n > 1 ? Math.sqrt(squares / (n - 1)) : 0 };
}

// A paired difference: mean, standard error, and on how many draws it is negative
export function effect(differences) {
  const { mean, deviation } = spread(differences), n = differences.length;
  const better = differences.filter((d) => d < 0).length;
  return { difference: mean, se: deviation / Math.sqrt(n), better, draws: n };
}

// The first `train`ed point of a curve is what its axis must hold
export const LOSSES = [TRAIN, VAL];
