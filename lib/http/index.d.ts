export * from './breaker-middleware';
export * from './health-routes';
export * from './problem';
