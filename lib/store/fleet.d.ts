import { EventEmitter } from 'node:events';
import CircuitBreaker = require('../primitives/breaker');

/**
 * Breakers that hosts share. A breaker that trips on one host opens on all, and the first host
 * whose probe succeeds closes it on all. Each host counts its own calls, and sends its own probes.
 * While the database is away each host goes on by itself, and writes its state once it is back.
 *
 * Emits 'warning'(error) when the database could not be written or read.
 */
export interface Fleet extends EventEmitter {
  /**
   * Makes the breaker one with those of the same name on all hosts that join. Give it scope 'host'
   * as well, so that the processes of a host agree without the database.
   * @throws ERR_INVALID_OPTION
   */
  join (breaker: CircuitBreaker<any, any>, options?: {
    /** Sets breakers of the same name apart, default 'default'. */
    namespace?: string | undefined;
  }): Promise<void>;
  /** From now on the breaker is its host's alone. */
  leave (breaker: CircuitBreaker<any, any>): void;
  /** The states that were written last, by name. */
  list (): Promise<Array<{
    /** One breaker, and until when it stays open. */
    namespace: string; name: string; state: 'open' | 'closed'; openUntil: Date; changedAt: Date;
  }>>;
}
