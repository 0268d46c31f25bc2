"""Routes of the project."""

from __future__ import annotations

from django.urls import path

from tests.library.project import views

urlpatterns = [
    path("ok/", views.ok),
    path("health", views.ok),
    path("quiet/<str:name>", views.ok),
    path("whoami/", views.whoami),
    path("organizations/<int:organization_id>/", views.bound),
    path("broken/", views.broken),
    path("stops/", views.stops),
    path("denied/", views.denied),
    path("forbidden/", views.forbidden),
    path("stream/", views.stream),
    path("fails-sync/", views.fail_sync),
    path("fails-async/", views.fail_async),
    path("file/", views.file),
    path("async/", views.async_ok),
    path("async-wait/", views.async_wait),
    path("async-stream/", views.async_stream),
    path("login/", views.sign_in),
    path("logout/", views.sign_out),
    path("reset/<str:uid>/<str:token>/", views.reset),
    path("secrets/uuid/<uuid:token>/", views.refuse),
    path("secrets/otp/<int:otp>/", views.refuse),
    path("secrets/pin-<str:pin>/", views.refuse),
    path("secrets/invite/<str:invite>/", views.refuse),
    path("secrets/raises/<str:token>/", views.refuse, {"raises": True}),
    path("secrets/fixed/", views.refuse, {"token": "fixed"}),
]
