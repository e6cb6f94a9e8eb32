-- The registry of the other side.
CREATE TABLE public.tenants (
    id                     uuid         PRIMARY KEY DEFAULT gen_random_uuid(),
    slug                   varchar(63)  UNIQUE NOT NULL,
    schema_name            varchar(63)  UNIQUE NOT NULL,
    status                 varchar(20)  NOT NULL DEFAULT 'active',
    plan_tier              varchar(20)  NOT NULL DEFAULT 'free',
    created_at             timestamptz  NOT NULL DEFAULT now(),
    updated_at             timestamptz  NOT NULL DEFAULT now(),
    deleted_at             timestamptz,
    allowed_domains        text[],
    api_key_hash           text,
    max_agents             int,
    max_tasks_per_month    int,
    storage_limit_gb       int,
    stripe_customer_id     varchar(255),
    stripe_subscription_id varchar(255),
    admin_email            varchar(255) NOT NULL
);
