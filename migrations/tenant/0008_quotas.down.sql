DROP TABLE tenant.quota_counters;
