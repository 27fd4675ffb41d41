'use strict';

// Makes metrics in a registry of prom-client, and takes them out again.

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

  /** @param {string} aggregator of processes: 'max' where all of them see the same */
  gauge (name, labelNames, help, aggregator, read) {
    return new this.#client.Gauge({ ...this.#options(name, labelNames, help, read), aggregator });
  }

  histogram (name, labelNames, help, buckets) {
    return new this.#client.Histogram({ ...this.#options(name, labelNames, help), buckets });
  }

  /**
   * What we have counted ourselves: a call that is counted costs a fraction of what it costs there.
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

module.exports = { Factory };
