'use strict';

// What lies between our figures and a registry of prom-client: labels, metrics that leave it
// together, and families of which each name has the same rows.
//
// prom-client makes an object of each row, and then one text of all. For thousands of names that
// would block the loop for long, and take much memory. So it writes a page with one name in each
// family, a mark, and from these rows all others are made, some names at a time.

const { randomBytes } = require('node:crypto');
const { setImmediate: nextTurn } = require('node:timers/promises');

const LABEL_MAX = 100;
const OTHER = 'other';
// Names whose rows are made in one turn of the loop: at most 16 rows each, in less than a ms.
const SLICE = 50;

/** In a draft: the names of a family, by its number. Nothing from outside can contain it. */
const SECRET = randomBytes(16).toString('hex');
const markOf = number => `${SECRET}-${number}-`;
const MARK = new RegExp(markOf('(\\d+)'));

/** The entry of a map, which is made if there is none. */
function entryOf (map, key, make) {
  if (!map.has(key)) map.set(key, make());
  return map.get(key);
}

/** Calls `visit` for each item, and lets the loop turn in between. */
async function eachInTurns (items, visit) {
  for (let i = 0; i < items.length; i++) {
    if (i > 0 && i % SLICE === 0) await nextTurn();
    visit(items[i]);
  }
}

/** As prom-client writes it in a label. */
const escaped = name =>
  (/[\\\n"]/.test(name)
    ? name.replace(/\\/g, '\\\\').replace(/\n/g, '\\n').replace(/"/g, '\\"')
    : name);

const valueText = value =>
  (value === Infinity ? '+Inf' : value === -Infinity ? '-Inf' : String(value));

/** A family of metrics: for each name the same rows, with other values. */
class Family {
  #mark;
  #rows;
  #read;

  /**
   * @param {number} number among the families of a factory
   * @param {object} options
   * @param {string} options.name
   * @param {string} options.help
   * @param {'counter' | 'gauge' | 'histogram'} options.type
   * @param {string} [options.aggregator] over processes
   * @param {{ labels: (name: string) => object, suffix?: string }[]} options.rows
   * @param {() => Promise<Map<string, unknown>>} options.read sources by name
   * @param {(source: unknown) => number[]} options.valuesOf in the order of the rows
   */
  constructor (number, { name, help, type, aggregator = 'sum', rows, read, valuesOf }) {
    // The registry changes the name of a counter in the format of OpenMetrics.
    Object.assign(this, { name, help, type, aggregator, valuesOf });
    this.#mark = markOf(number);
    this.#rows = rows;
    this.#read = read;
    /** Whether get() answers with the rows of the mark. */
    this.isDraft = false;
  }

  async get () {
    const { name, help, type, aggregator } = this;
    if (this.isDraft) {
      const values = this.#rowsOf(this.#mark, this.#rows.map(() => 0));
      return { name, help, type, aggregator, values };
    }
    const values = [];
    await eachInTurns([...await this.#read()], ([label, source]) => {
      values.push(...this.#rowsOf(label, this.valuesOf(source)));
    });
    return { name, help, type, aggregator, values };
  }

  #rowsOf (label, values) {
    return this.#rows.map(({ labels, suffix }, i) => ({
      // Without a suffix the registry knows the name.
      ...suffix && { metricName: this.name + suffix },
      labels: labels(label), value: values[i],
    }));
  }

  reset () {}

  /**
   * The text of all names, a slice in each turn of the loop.
   * @param {string[]} lines those of the mark
   */
  async * write (lines) {
    const rows = lines.map(line => {
      const [head, tail] = line.split(this.#mark);
      return [head, tail.slice(0, tail.lastIndexOf(' ') + 1)];
    });
    const all = [...await this.#read()];
    for (let i = 0; i < all.length; i += SLICE) {
      await nextTurn();
      let text = '';
      for (const [label, source] of all.slice(i, i + SLICE)) {
        const name = escaped(label);
        const values = this.valuesOf(source);
        for (let row = 0; row < rows.length; row++) {
          const [head, tail] = rows[row];
          text += `${head}${name}${tail}${valueText(values[row])}\n`;
        }
      }
      yield text;
    }
  }
}

/** Makes metrics, and removes them again. */
class Factory {
  #client;
  #registry;
  #prefix;
  #names = [];
  #families = [];

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
   * A metric that we count ourselves, which costs a fraction of prom-client's counters.
   * @param {string} [aggregator] over processes
   */
  made (type, name, help, read, aggregator = 'sum') {
    const full = this.#add(name);
    const get = async () => ({
      name: full, help, type, aggregator,
      values: read().map(([labels, value, suffix = '']) =>
        ({ metricName: full + suffix, labels, value })),
    });
    this.#registry.registerMetric({ name: full, aggregator, get, reset () {} });
  }

  /** @param {object} options as of Family; one that may have thousands of names */
  family ({ name, ...options }) {
    const family = new Family(this.#families.length, { name: this.#add(name), ...options });
    this.#families.push(family);
    this.#registry.registerMetric(family);
  }

  /**
   * The page of the registry, in parts. Rejects if a metric fails before there is a first part.
   * @returns {Promise<AsyncGenerator<string>>}
   */
  async page () { return write(await this.#draft(), this.#families); }

  /** How the values of several processes become one, by family of the registry. */
  get aggregators () {
    return Object.fromEntries(
      this.#registry.getMetricsAsArray().map(({ name, aggregator }) => [name, aggregator]));
  }

  /** The registry asks all metrics at once, before it waits for any. */
  #draft () {
    try {
      for (const family of this.#families) family.isDraft = true;
      return this.#registry.metrics();
    } finally {
      for (const family of this.#families) family.isDraft = false;
    }
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

/** The parts of a page: what is in the draft as it is, and the rows of families. */
async function * write (draft, families) {
  const lines = draft.split(/(?<=\n)/);
  const numberOf = line => MARK.exec(line)?.[1];
  for (let from = 0; from < lines.length;) {
    const number = numberOf(lines[from]);
    let to = from + 1;
    while (to < lines.length && numberOf(lines[to]) === number) to++;
    const part = lines.slice(from, to);
    if (number === undefined) yield part.join('');
    else yield * families[number].write(part);
    from = to;
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
    const label = text.replace(/\/\/[^/\s]*@/g, '//').replace(/[?#].*/s, '').slice(0, LABEL_MAX);
    this.#known.set(text, label);
    return label;
  }
}

module.exports = { Factory, Labels, eachInTurns, entryOf, valueText };
