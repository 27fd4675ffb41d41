import CircuitBreaker = require('../primitives/breaker');
import { Degradation, Health } from '../gateway';
import { SessionPool } from '../clients/whatsapp';
import { DeadLetters } from '../store';

export interface HealthRouterOptions {
  health: Pick<Health, 'check' | 'live' | 'ready'>;
  degradation?: Pick<Degradation, 'snapshot'> | undefined;
  /** Default: all live breakers of this thread. */
  breakers?: (() => CircuitBreaker<any, any>[]) | undefined;
  deadLetters?: Pick<DeadLetters, 'summary'> | undefined;
  sessions?: Pick<SessionPool<any>, 'health' | 'status'> | undefined;
}

/**
 * An Express 5 router with GET pages; `application/json`, never cached by others:
 *
 * - `/health`: its status, that of each check, the figures of the sessions. 503 if unhealthy
 * - `/health/live`: 200
 * - `/health/ready`: 200 or 503
 * - `/health/detailed`: everything. 503 if unhealthy
 * - `/health/circuit-breakers`: up to 1000, the open ones first
 * - `/health/degradation`, `/health/dlq`: 404 without that part
 * - `/api/health`: status, `api` and `cache` (the checks of these names), the breakers, and
 *   response times. 200 healthy, 200 degraded, 503 unhealthy
 * - `/circuit-breaker-status/:id`: an instance of the sessions, or the breaker with this name
 *
 * @throws SekeringError ERR_MISSING_PEER without the package express
 */
export function createHealthRouter (options: HealthRouterOptions): any;
