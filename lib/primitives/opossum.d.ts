/** The class of `sekering`, except that unknown options are ignored, as in opossum. */
import CircuitBreaker = require('./breaker');

export = CircuitBreaker;
