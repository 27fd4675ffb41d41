'use strict';

// Labels of metrics: few, short, and without what should not be seen.

const LABEL_MAX = 100;
// Members of larger groups are told apart by customers or instances, which are many.
const MEMBERS_MAX = 100;
const OTHER = 'other';

/** The first so many values are labels as they are, and all that come later one together. */
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
    // A name may be an address, and that may have a password in it.
    const label = text.replace(/\/\/[^/\s]*@/g, '//').replace(/[?#].*$/s, '').slice(0, LABEL_MAX);
    this.#known.set(text, label);
    return label;
  }
}

/** What a breaker is called; of one in a large group, the group. */
function nameOf (breaker) {
  return breaker._group?.max > MEMBERS_MAX ? breaker._group.name : breaker.name;
}

module.exports = { Labels, nameOf };
