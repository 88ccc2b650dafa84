#include "worker-cleanup/cleanup_service.h"

int main(int argc, char **argv)
{
    return service_main(argc, argv, &cleanup_service);
}
