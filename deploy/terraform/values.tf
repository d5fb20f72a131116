locals {
  # What the chart's values.schema.json checks again.
  values = {
    image = {
      repository  = var.image.repository
      tag         = var.image.tag
      pullSecrets = var.image.pull_secrets
    }
    existingSecret = var.existing_secret
    settings = merge(
      {
        WOLFPACK_PUBLIC_URL      = "https://${var.host}"
        WOLFPACK_TRUSTED_PROXIES = join(",", var.trusted_proxies)
      },
      var.settings,
    )
    replicas = var.replicas
    autoscaling = {
      enabled           = var.autoscaling != null
      minReplicas       = var.replicas
      maxReplicas       = var.autoscaling == null ? var.replicas : max(var.replicas, var.autoscaling.max_replicas)
      tunnelsPerReplica = var.autoscaling == null ? 2500 : var.autoscaling.tunnels_per_replica
    }
    ingress = {
      className   = var.ingress_class
      host        = var.host
      tlsSecret   = var.tls_secret
      annotations = var.ingress_annotations
    }
    serviceMonitor = {
      enabled = var.service_monitor
    }
  }
}
