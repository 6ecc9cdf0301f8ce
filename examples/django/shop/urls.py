from django.urls import include, path

urlpatterns = [path("hooks/", include("hookline.adapters.django.urls"))]
