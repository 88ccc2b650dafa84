/*
 * worker-escalation reaches: it sends what is due, tries again, takes the next channel, climbs.
 */
#include "worker-escalation/escalation_service.h"

int main(int argc, char **argv)
{
    return service_main(argc, argv, &escalation_service);
}
