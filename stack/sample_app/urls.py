"""Every address of the sample app, in one place. All answers are JSON, except the CSV export."""

from __future__ import annotations

from django.urls import path

from stack.sample_app.accounts import views as accounts
from stack.sample_app.invoices import views as invoices
from stack.sample_app.operations import views as operations
from stack.sample_app.organizations import views as organizations

urlpatterns = [
    path("healthz", operations.health),
    path("api/login/", accounts.log_in),
    path("api/logout/", accounts.log_out),
    path("api/me/", accounts.me),
    path("api/organizations/", organizations.collection),
    path("api/organizations/<int:pk>/", organizations.detail),
    path("api/organizations/<int:pk>/members/", organizations.members),
    path("api/organizations/<int:pk>/members/<int:user_pk>/role/", organizations.change_role),
    path("api/organizations/<int:pk>/invoices/", invoices.collection),
    path("api/organizations/<int:pk>/invoices/export/", invoices.export),
    path("api/organizations/<int:pk>/revenue/", invoices.revenue),
    path("api/invoices/<int:pk>/", invoices.detail),
    path("api/invoices/<int:pk>/converted/", invoices.converted),
]

handler400 = "stack.sample_app.api.bad_request"
handler403 = "stack.sample_app.api.forbidden"
handler404 = "stack.sample_app.api.not_found"
handler500 = "stack.sample_app.api.server_error"
