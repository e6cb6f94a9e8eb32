"""The smallest project that django-tenants' guide asks for."""

import os

SECRET_KEY = "of a benchmark"
USE_TZ = True
DEBUG = False
DATABASES = {
    "default": {
        "ENGINE": "django_tenants.postgresql_backend",
        "NAME": os.environ["PEER_DATABASE"],
        "USER": os.environ["PEER_USER"],
        "PASSWORD": os.environ["PEER_PASSWORD"],
        "HOST": os.environ["PEER_HOST"],
        "PORT": os.environ["PEER_PORT"],
    }
}
DATABASE_ROUTERS = ["django_tenants.routers.TenantSyncRouter"]
SHARED_APPS = ["django_tenants", "django.contrib.contenttypes", "tenants"]
TENANT_APPS = ["company"]
INSTALLED_APPS = [*SHARED_APPS, *TENANT_APPS]
TENANT_MODEL = "tenants.Tenant"
TENANT_DOMAIN_MODEL = "tenants.Domain"
TENANT_MULTIPROCESSING_MAX_PROCESSES = int(os.environ.get("PEER_PROCESSES", "2"))
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# Tenants are made before there is a second migration.
MIGRATION_MODULES = {"company": f"company.migrations_{os.environ.get('PEER_STAGE', 'after')}"}
