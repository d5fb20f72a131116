# Wolfpack's control plane in a Kubernetes cluster, by the Helm chart beside this module. PostgreSQL and the Secret have to be there.
resource "helm_release" "control_plane" {
  name             = var.release
  namespace        = var.namespace
  create_namespace = var.create_namespace
  chart            = coalesce(var.chart, "${path.module}/../helm/wolfpack")

  values = [yamlencode(local.values), yamlencode(var.extra_values)]

  # A release whose pods do not become ready is rolled back as a whole; the schema of the database stays, which older replicas know
  # how to live with (docs/operations/upgrade.md).
  atomic          = true
  wait            = true
  timeout         = var.timeout_seconds
  cleanup_on_fail = true
  max_history     = 10
}
