# What the chart is told: of the module's variables alone, so that it can be looked at without a provider or a cluster.
locals {
  autoscaled = var.replicas.max > var.replicas.min

  chart_values = {
    image = {
      repository = var.image_repository
      tag        = var.image_tag
    }
    existingSecret = var.existing_secret
    settings = merge(
      {
        WOLFPACK_PUBLIC_URL      = "https://${var.host}"
        WOLFPACK_TRUSTED_PROXIES = join(",", var.trusted_proxies)
      },
      var.settings,
    )
    replicas = var.replicas.min
    autoscaling = {
      enabled     = local.autoscaled
      minReplicas = var.replicas.min
      maxReplicas = var.replicas.max
    }
    ingress = {
      className = var.ingress_class
      host      = var.host
      tlsSecret = var.tls_secret
    }
    serviceMonitor = {
      enabled = var.service_monitor
    }
  }
}
