export * from './admin';
export * from './app';
export * from './breaker-middleware';
export * from './health-routes';
export * from './metrics';
export * from './idempotency';
export * from './problem';
export * from './tracing';
