'use strict';

// Metrics in a registry of prom-client, and labels that stay few.

const LABEL_MAX = 100;
const OTHER = 'other';

/** Makes metrics, and removes them again. */
class Factory {
  #client;
  #registry;
  #prefix;
  #names = [];

  constructor (client, registry, prefix) {
    this.#client = client;
    this.#registry = registry;
    this.#prefix = prefix;
  }

  counter (name, labelNames, help, read) {
    return new this.#client.Counter(this.#options(name, labelNames, help, read));
  }

  /** @param {string} aggregator over processes: 'max' if all of them see the same value */
  gauge (name, labelNames, help, aggregator, read) {
    return new this.#client.Gauge({ ...this.#options(name, labelNames, help, read), aggregator });
  }

  histogram (name, labelNames, help, buckets) {
    return new this.#client.Histogram({ ...this.#options(name, labelNames, help), buckets });
  }

  /**
   * A metric that we count ourselves, which costs a fraction of what prom-client's counters do.
   * @param {() => Array<[labels: object, value: number, suffix?: string]>} read
   */
  made (type, name, help, read) {
    const full = this.#add(name);
    const get = async () => ({
      name: full, help, type, aggregator: 'sum',
      values: read().map(([labels, value, suffix = '']) =>
        ({ metricName: full + suffix, labels, value })),
    });
    this.#registry.registerMetric({ name: full, get, reset () {} });
  }

  removeAll () {
    for (const name of this.#names.splice(0)) this.#registry.removeSingleMetric(name);
  }

  #options (name, labelNames, help, read) {
    const collect = read && function collect () { return read(this); };
    return { name: this.#add(name), help, labelNames, registers: [this.#registry], collect };
  }

  #add (name) {
    const full = this.#prefix + name;
    this.#names.push(full);
    return full;
  }
}

/** The first `max` values become labels. All later ones share the label 'other'. */
class Labels {
  #known = new Map();
  #max;

  constructor (max) {
    this.#max = max;
  }

  of (value) {
    const text = String(value);
    const known = this.#known.get(text);
    if (known !== undefined) return known;
    if (this.#known.size >= this.#max) return OTHER;
    // A name may be a URL with a password.
    const label = text.replace(/\/\/[^/\s]*@/g, '//').replace(/[?#].*$/s, '').slice(0, LABEL_MAX);
    this.#known.set(text, label);
    return label;
  }
}

module.exports = { Factory, Labels };
