'use strict';

// How bad it is: levels from good to bad, and one kind of table that says when each is reached.

const { invalidOption } = require('../base/errors');
const { bag, number, oneOf } = require('../base/options');

const UP = 'up';
const IMPAIRED = 'impaired';
const DOWN = 'down';

/** The conditions that a service can be in. */
const CONDITIONS = [UP, IMPAIRED, DOWN];

// In a rule, all that is given must hold: so many services down; so many not wholly up; all of
// these down.
const SCHEMES = {
  services: {
    levels: ['NORMAL', 'DEGRADED', 'SEVERE', 'EMERGENCY'],
    rules: [
      { level: 'DEGRADED', down: 1 },
      { level: 'SEVERE', down: 2 },
      { level: 'EMERGENCY', down: 3 },
    ],
  },
  levels: {
    levels: ['NORMAL', 'MINOR', 'MODERATE', 'SEVERE', 'CRITICAL'],
    rules: [
      { level: 'MINOR', impaired: 1 },
      { level: 'MODERATE', down: 1 },
      { level: 'SEVERE', down: 2 },
      { level: 'CRITICAL', down: 3 },
    ],
  },
};

const CONDITION_NAMES = ['down', 'impaired', 'services'];

function readRule (given, i, levels, names) {
  const at = `rules[${i}]`;
  const { level, down = 0, impaired = 0, services = [], ...rest } = bag(at, given);
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) {
    throw invalidOption(`${at}.${unknown}`, 'nothing: a rule has no such condition', rest[unknown]);
  }
  oneOf(`${at}.level`, level, levels);
  number(`${at}.down`, down, { min: 0, integer: true });
  number(`${at}.impaired`, impaired, { min: 0, integer: true });
  if (!Array.isArray(services)) throw invalidOption(`${at}.services`, 'an array', services);
  for (const [j, name] of services.entries()) oneOf(`${at}.services[${j}]`, name, names);
  if (down === 0 && impaired === 0 && services.length === 0) {
    throw invalidOption(at, `one of ${CONDITION_NAMES.join(', ')}`, given);
  }
  return { index: levels.indexOf(level), down, impaired, services };
}

class Rules {
  #rules;

  /**
   * @param {'services' | 'levels'} scheme
   * @param {object[] | undefined} given rules in place of the scheme's
   * @param {string[]} names of the services
   */
  constructor (scheme, given, names) {
    oneOf('scheme', scheme, Object.keys(SCHEMES));
    const { levels, rules } = SCHEMES[scheme];
    if (!Array.isArray(given ?? rules)) throw invalidOption('rules', 'an array', given);
    this.levels = levels;
    this.#rules = (given ?? rules).map((rule, i) => readRule(rule, i, levels, names))
      .toSorted((one, other) => other.index - one.index);
  }

  /**
   * The worst level of which a rule holds.
   * @param {Map<string, string>} conditions of the services
   * @returns {number}
   */
  levelOf (conditions) {
    let down = 0;
    let impaired = 0;
    for (const condition of conditions.values()) {
      if (condition === DOWN) down += 1;
      if (condition !== UP) impaired += 1;
    }
    const rule = this.#rules.find(each => down >= each.down && impaired >= each.impaired &&
      each.services.every(name => conditions.get(name) === DOWN));
    return rule?.index ?? 0;
  }
}

module.exports = { CONDITIONS, DOWN, IMPAIRED, Rules, UP };
