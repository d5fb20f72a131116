# A cluster that is there, with an ingress controller, a PostgreSQL and the Secret that the control plane reads:
#   kubectl create namespace wolfpack
#   kubectl -n wolfpack create secret generic wolfpack-control-plane --from-file=database-url --from-file=api-key-secret \
#     --from-file=metrics-token
terraform {
  required_providers {
    helm = {
      source  = "hashicorp/helm"
      version = "~> 3.0"
    }
  }
}

provider "helm" {
  kubernetes = {
    config_path = "~/.kube/config"
  }
}

module "wolfpack" {
  source = "../"

  image           = { repository = "images.example.com/wolfpack/control-plane", tag = "0.1.0" }
  host            = "fleet.example.com"
  trusted_proxies = ["10.42.0.0/16"]
  replicas        = 3
  ingress_annotations = {
    "cert-manager.io/cluster-issuer" = "letsencrypt"
  }
}

output "url" {
  value = module.wolfpack.url
}
