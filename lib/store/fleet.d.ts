import { EventEmitter } from 'node:events';
import CircuitBreaker = require('../primitives/breaker');

/**
 * Breakers that hosts have in common. What trips on one host opens on all, and the first host whose
 * probe succeeds closes it on all. Calls are counted by each host, and each host sends its own
 * probes. Without the database every host goes on by itself, and tells once it is back.
 *
 * Emits 'warning'(error) when the database could not be told or asked.
 */
export interface Fleet extends EventEmitter {
  /**
   * From now on the breaker of that name is one for all hosts that join it. Give it scope 'host'
   * as well, so that the processes of a host agree without the database.
   * @throws ERR_INVALID_OPTION
   */
  join (breaker: CircuitBreaker<any, any>, options?: {
    /** Set apart breakers of the same name, default 'default'. */
    namespace?: string | undefined;
  }): Promise<void>;
  /** Leaves the breaker to its host. */
  leave (breaker: CircuitBreaker<any, any>): void;
  /** What was told last, by name. */
  list (): Promise<Array<{
    namespace: string; name: string; state: 'open' | 'closed'; openUntil: Date; changedAt: Date;
  }>>;
}
