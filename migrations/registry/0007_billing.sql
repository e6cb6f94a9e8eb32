-- What the payment provider says about tenants' subscriptions. Run as role tenantry_owner in `public`.

-- Every event of a subscription or its invoices that was delivered, each once. What a tenant owes follows from the set of
-- its customer's events and from nothing else, so neither their order nor repetitions matter.
CREATE TABLE public.stripe_events (
    id text PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 255),
    -- The order of arrival, for lists.
    seq bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    type text NOT NULL CHECK (length(type) BETWEEN 1 AND 100),
    -- When it happened, by the provider's clock, which counts seconds.
    created timestamptz NOT NULL,
    customer text NOT NULL CHECK (length(customer) BETWEEN 1 AND 255),
    subscription text NOT NULL CHECK (length(subscription) BETWEEN 1 AND 255),
    -- Of events of a subscription: its state at that moment, and what is paid for.
    status text CHECK (length(status) BETWEEN 1 AND 50),
    prices text[] NOT NULL DEFAULT '{}',
    -- Outlives the tenant.
    tenant_id uuid,
    outcome text NOT NULL CHECK (outcome IN ('applied', 'unchanged', 'unknown_customer', 'ambiguous_customer')),
    detail text,
    received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    applied_at timestamptz
);
CREATE INDEX stripe_events_customer ON public.stripe_events (customer, created);
CREATE INDEX stripe_events_tenant ON public.stripe_events (tenant_id, seq) WHERE tenant_id IS NOT NULL;

-- Where a tenant stands by those events, and what was done about it.
CREATE TABLE public.tenant_billing (
    tenant_id uuid PRIMARY KEY REFERENCES public.tenants (id) ON DELETE CASCADE,
    customer text NOT NULL,
    subscription text,
    standing text NOT NULL CHECK (standing IN ('none', 'paid', 'past_due', 'cancelled')),
    -- What the events ask for; NULL leaves the plan to the operators.
    plan_tier varchar(20),
    past_due_since timestamptz,
    cancelled_at timestamptz,
    -- From when on the tenant is to be suspended.
    suspend_at timestamptz,
    -- The suspension was made for these events, so they may end it. One by an operator they may not.
    suspended boolean NOT NULL DEFAULT false,
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX tenant_billing_due ON public.tenant_billing (suspend_at) WHERE suspend_at IS NOT NULL AND NOT suspended;
CREATE TRIGGER billing_updated_at BEFORE UPDATE ON public.tenant_billing
    FOR EACH ROW EXECUTE FUNCTION tenantry.touch_updated_at();

GRANT SELECT, INSERT, UPDATE ON public.stripe_events, public.tenant_billing TO tenantry_control;
GRANT SELECT ON public.stripe_events, public.tenant_billing TO tenantry_auditor;
